"""Pairs, and images without partners, of which some cannot be read."""

import io
import os
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules import DataError, ImageFolderDataModule, PairedImagesDataModule, UnpairedImagesDataModule

SMALL = {"image_size": 8, "load_size": 8, "horizontal_flip": False, "num_workers": 0}


def make(folder, numbers):
    folder.mkdir(parents=True)
    for number in numbers:
        Image.fromarray(np.full((8, 8, 3), number, np.uint8)).save(folder / f"{number % 100:02d}.png")


def read(loader):
    """The numbers of the images of both domains, in order."""
    domains = zip(*loader, strict=True)
    return [torch.cat(images)[:, 0, 0, 0].tolist() for images in domains]


def read_in(loader, epoch):
    loader.sampler.set_epoch(epoch)
    return read(loader)


@pytest.fixture
def paired(tmp_path):
    make(tmp_path / "a", range(12))
    make(tmp_path / "b", range(100, 112))
    (tmp_path / "a" / "03.png").write_bytes(b"no picture")
    (tmp_path / "b" / "07.png").write_bytes(b"no picture")
    return lambda **more: PairedImagesDataModule(
        str(tmp_path / "a"), str(tmp_path / "b"), val_fraction=0.01, **SMALL, **more
    )


def test_a_pair_of_which_one_is_unreadable_is_replaced_whole(paired, capsys):
    with pytest.raises(DataError, match=r"Cannot read the image .*(a/03|b/07)\.png .*repair or remove it\.$"):
        read(paired().train_dataloader())
    data = paired(skip_unreadable=True)
    with pytest.warns(UserWarning, match=r"b/07\.png .*The next image replaces it"):
        a, b = read(data.train_dataloader())
    assert [number + 100 for number in a] == b
    assert len(a) == 11
    assert not {3, 7} & set(a)
    assert [path[-8:] for path in data.skipped] == ["a/03.png", "a/07.png"]
    data.teardown("fit")
    assert capsys.readouterr().out.startswith("Skipped 2 unreadable images: ")


@pytest.fixture
def unpaired(tmp_path):
    for domain, numbers in (("A", range(6)), ("B", range(100, 110))):
        make(tmp_path / f"train{domain}", numbers)
        make(tmp_path / f"test{domain}", numbers)
    for name in ("trainA/02.png", "testB/05.png"):
        (tmp_path / name).write_bytes(b"no picture")
    return lambda **more: UnpairedImagesDataModule(str(tmp_path), **SMALL, **more)


def test_an_image_of_a_domain_is_replaced_by_the_next_of_that_domain(unpaired):
    with pytest.raises(DataError, match=r"Cannot read the image .*testB/05\.png .*repair or remove it\.$"):
        read(unpaired().val_dataloader())
    data = unpaired(skip_unreadable=True)
    with pytest.warns(UserWarning, match=r"testB/05\.png .*The next image replaces it"):
        a, b = read(data.val_dataloader())
    assert a == list(range(6))
    assert b == [100, 101, 102, 103, 104, 106, 106, 107, 108, 109]
    loader = data.train_dataloader()
    with pytest.warns(UserWarning, match=r"trainA/02\.png .*The next image replaces it"):
        epochs = [read_in(loader, epoch) for epoch in range(20)]
    assert {number for a, _ in epochs for number in a} == {0, 1, 3, 4, 5}
    assert all(sorted(b) == list(range(100, 110)) for _, b in epochs)
    assert [path.rpartition("/test")[2] for path in data.skipped[:1]] == ["B/05.png"]
    assert [path.rpartition("/train")[2] for path in data.skipped[1:]] == ["A/02.png"]


def test_nothing_readable_is_no_endless_search(tmp_path):
    for domain in "AB":
        make(tmp_path / f"train{domain}", range(4))
        for path in (tmp_path / f"train{domain}").iterdir():
            path.write_bytes(b"")
    data = UnpairedImagesDataModule(str(tmp_path), skip_unreadable=True, **SMALL)
    with (
        pytest.warns(UserWarning, match="replaces it"),
        pytest.raises(DataError, match="No image of the set can be read"),
    ):
        read(data.train_dataloader())


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp1252"])
@pytest.mark.parametrize("name", [b"caf\xe9.png", "猫.png".encode(), b"two\nlines.png"])
def test_a_skipped_file_may_have_any_name(tmp_path, monkeypatch, encoding, name):
    make(tmp_path / "a", range(12))
    path = os.path.join(os.fsencode(tmp_path / "a"), name)
    with open(path, "wb") as file:
        file.write(b"no picture")
    data = ImageFolderDataModule(str(tmp_path), image_size=8, batch_size=2, num_workers=0, skip_unreadable=True)
    with pytest.warns(UserWarning, match="The next image replaces it"):
        list(data.train_dataloader()) + list(data.val_dataloader())
    terminal = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", terminal)
    data.teardown("fit")
    terminal.flush()
    assert data.skipped == [os.fsdecode(path)]
    (line,) = terminal.buffer.getvalue().splitlines()
    assert line.startswith(b"Skipped 1 unreadable images: ")
