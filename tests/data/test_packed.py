"""Packed images are the images, and a pack is whole or not there."""

import os
import pickle
import resource
import shutil

import pytest
import torch
from PIL import Image

from datamodules import DataError, ImageFolderDataModule


@pytest.fixture
def folder(tmp_path):
    """Thirty images of noise in three classes, of several sizes and formats."""
    generator = torch.Generator().manual_seed(0)
    for index in range(30):
        path = tmp_path / "images" / "abc"[index % 3] / f"{index}.{['png', 'jpg', 'webp'][index % 3]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = torch.randint(256, (20 + index, 33 - index % 5, 3), generator=generator, dtype=torch.uint8)
        Image.fromarray(noise.numpy()).save(path)
    return tmp_path / "images"


@pytest.fixture
def data(folder, tmp_path):
    def make(pack=True, **options):
        place = {"pack": str(tmp_path / "packs")} if pack else {}
        defaults = {"image_size": (12, 16), "batch_size": 4, "num_workers": 0, "num_classes": 3}
        return ImageFolderDataModule(str(folder), **defaults | place | options)

    return make


def batches(datamodule, epochs=2):
    loader = datamodule.train_dataloader()
    served = []
    for epoch in range(epochs):
        loader.sampler.set_epoch(epoch)
        served += list(loader)
    return served + list(datamodule.val_dataloader())


def packs(tmp_path):
    return sorted(os.listdir(tmp_path / "packs"))


@pytest.mark.parametrize(
    "options", [{"horizontal_flip": True}, {"crop": "stretch", "num_classes": 0, "channels": 1}, {"num_workers": 2}]
)
def test_batches_are_those_of_the_files(data, options):
    plain, packed = batches(data(pack=False, **options)), batches(data(**options))
    assert len(plain) == len(packed) > 10
    for ours, theirs in zip(packed, plain, strict=True):
        assert len(ours) == len(theirs)
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_a_pack_serves_until_an_image_changes(data, folder, tmp_path):
    batches(data())
    (name,) = packs(tmp_path)
    made = os.stat(tmp_path / "packs" / name).st_mtime_ns
    batches(data(seed=1, batch_size=2, horizontal_flip=True))
    assert packs(tmp_path) == [name]
    assert os.stat(tmp_path / "packs" / name).st_mtime_ns == made
    Image.new("RGB", (40, 40), "red").save(folder / "a" / "0.png")
    images = torch.cat([batch[0] for batch in batches(data(), epochs=1)])
    assert len(packs(tmp_path)) == 2
    red = torch.tensor([255, 0, 0], dtype=torch.uint8)[:, None, None].expand(3, 12, 16)
    assert any(torch.equal(image, red) for image in images)
    batches(data(image_size=10))
    assert len(packs(tmp_path)) == 3


def test_unreadable_images_are_named_or_left_out(data, folder, tmp_path):
    (folder / "b" / "1.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"b/1\.jpg"):
        data().prepare_data()
    assert packs(tmp_path) == []
    datamodule = data(skip_unreadable=True, batch_size=1, val_fraction=0.3)
    with pytest.warns(UserWarning, match=r"b/1\.jpg"):
        datamodule.prepare_data()
    served = batches(datamodule, epochs=1)
    assert len(served) == 29
    assert len({image.numpy().tobytes() for image, _ in served}) == 29
    assert [os.path.basename(path) for path in datamodule.skipped] == ["1.jpg"]
    of_b = [image for image, label in served if int(label) == 1]
    assert len(of_b) == 9


def test_without_room_nothing_is_left_behind(data, tmp_path, monkeypatch):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(DataError, match=r"Cannot write .*packs.*name another folder by pack="):
            data().prepare_data()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert packs(tmp_path) == []
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**6, 10**6 - 17_000, 17_000))
    with pytest.raises(DataError, match=r"too little room.*MiB"):
        data().prepare_data()  # 30 images of 576 bytes
    assert packs(tmp_path) == []


def test_a_process_that_is_sent_the_set_maps_the_file_itself(data):
    train_set = data().splits[0]
    before = train_set.__getitems__([3, 0, 5])
    sent = pickle.dumps(train_set)
    assert len(sent) < 10_000  # 30 images of 576 bytes
    after = pickle.loads(sent).__getitems__([3, 0, 5])
    assert all(torch.equal(a, b) for a, b in zip(after, before, strict=True))


def test_cuts_at_random_cannot_be_packed(data):
    with pytest.raises(DataError, match="pack= keeps one crop"):
        data(crop="random")
