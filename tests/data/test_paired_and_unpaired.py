"""Paired and unpaired images from folders made here, and the published sets from a local server."""

import io
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
import torch
from PIL import Image

import datamodules.published_datasets as published_datasets
from datamodules import DataError, PairedImagesDataModule, UnpairedImagesDataModule


def ramp(number, size=(40, 40), mode="RGB"):
    """An image whose red is its number, its green the column and its blue the row."""
    width, height = size
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = number
    pixels[..., 1] = np.arange(width) * 3
    pixels[..., 2] = np.arange(height)[:, None] * 3
    return Image.fromarray(pixels).convert(mode)


def save(image, *path):
    path[0].joinpath(*path[1:]).parent.mkdir(parents=True, exist_ok=True)
    image.save(path[0].joinpath(*path[1:]))


def all_of(loader):
    return [torch.cat(domain) for domain in zip(*loader, strict=True)]


@pytest.fixture
def folders(tmp_path):
    for number in range(20):
        save(ramp(number), tmp_path, "a", f"x{number % 2}", f"{number}.png")
        save(ramp(100 + number), tmp_path, "b", f"x{number % 2}", f"{number}.bmp")
    return tmp_path


def numbers(images):
    return images[:, 0].flatten(1).median(dim=1).values.tolist()


def test_two_folders_pair_by_name_and_split_once(folders):
    arguments = {"image_size": 40, "load_size": 40, "val_fraction": 0.3, "batch_size": 2, "num_workers": 0}
    data = PairedImagesDataModule(str(folders / "a"), str(folders / "b"), **arguments)
    seen = []
    for loader in (data.train_dataloader(), data.val_dataloader()):
        a, b = all_of(loader)
        assert [number + 100 for number in numbers(a)] == numbers(b)
        seen.append(numbers(a))
    assert sorted(seen[0] + seen[1]) == list(range(20))
    assert [len(numbers) for numbers in seen] == [14, 6]
    again = PairedImagesDataModule(str(folders / "a"), str(folders / "b"), **arguments)
    assert numbers(all_of(again.val_dataloader())[0]) == seen[1]


def test_both_domains_are_cropped_and_mirrored_alike(folders):
    data = PairedImagesDataModule(
        str(folders / "a"), str(folders / "b"), image_size=(24, 32), load_size=40, batch_size=16, num_workers=0
    )
    assert data.image_shape == data.target_shape == (3, 24, 32)
    windows, loader = set(), data.train_dataloader()
    for epoch in range(20):
        loader.sampler.set_epoch(epoch)
        a, b = next(iter(loader))
        assert torch.equal(a[:, 1:], b[:, 1:])  # green and blue say where a pixel came from
        assert a.shape == (16, 3, 24, 32)
        columns, rows = a[:, 1, 0].int(), a[:, 2, :, 0].int()
        assert set(columns.diff().flatten().tolist()) == {3, -3}
        assert set(rows.diff().flatten().tolist()) == {3}
        windows |= {(int(column.min()) // 3, int(row[0]) // 3) for column, row in zip(columns, rows, strict=True)}
    assert {x for x, _ in windows} == set(range(9))
    assert {y for _, y in windows} == set(range(17))
    a, b = next(iter(data.val_dataloader()))  # the whole image, stretched
    assert (a[:, 1].int().diff(dim=-1) > 0).all()
    assert int(a[0, 1].max()) > 110


def test_published_jitter_by_default():
    data = PairedImagesDataModule("anywhere")
    assert (data.image_shape, data._load_size) == ((3, 256, 256), (286, 286))


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_side_by_side_images_with_the_published_split(tmp_path, direction):
    for part, count in {"train": 4, "val": 2, "test": 3}.items():
        for number in range(count):
            both = Image.new("RGB", (80, 40))
            both.paste(ramp(number), (0, 0))
            both.paste(ramp(100 + number), (40, 0))
            save(both, tmp_path, part, f"{number}.png")
    data = PairedImagesDataModule(
        str(tmp_path), direction=direction, image_size=40, load_size=40, batch_size=1, num_workers=0,
        target_channels=1,
    )  # fmt: skip
    assert (data.image_shape, data.target_shape) == ((3, 40, 40), (1, 40, 40))
    for loader, count in ((data.train_dataloader(), 4), (data.val_dataloader(), 2), (data.test_dataloader(), 3)):
        a, b = all_of(loader)
        assert a.shape[:2] == (count, 3)
        assert b.shape[:2] == (count, 1)
        assert sorted(numbers(a)) == [number + (100 if direction == "BtoA" else 0) for number in range(count)]


def test_images_reach_the_model_in_its_range(folders):
    data = PairedImagesDataModule(str(folders / "a"), str(folders / "b"), image_size=8, batch_size=4, num_workers=0)
    batch = next(iter(data.train_dataloader()))
    for before, after in zip(batch, data.on_after_batch_transfer(batch, 0), strict=True):
        torch.testing.assert_close(after, before.float() / 127.5 - 1)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda f: (f / "b/x0/4.bmp").unlink(), r"a/x0/4\.png has no partner of its name in .*b: add it"),
        (lambda f: (f / "a/x1/3.png").unlink(), r"b/x1/3\.bmp has no partner of its name in .*a: add it"),
        (lambda f: save(ramp(0), f, "a/x0/4.gif"), r"a/x0/4\.png has the same name as .*4\.gif but for the suffix"),
        (lambda f: [p.unlink() for p in (f / "b").rglob("*.bmp")], "b holds no image"),
        (lambda f: (f / "b").rename(f / "c"), "There is no folder .*b"),
    ],
)
def test_what_is_missing_is_named_before_anything_is_read(folders, spoil, sentence):
    spoil(folders)
    with pytest.raises(DataError, match=sentence):
        PairedImagesDataModule(str(folders / "a"), str(folders / "b"), num_workers=0).setup("fit")


def test_unlike_sizes_and_odd_widths_are_named(folders, tmp_path):
    for number in range(20):
        save(ramp(number, (41, 30)), folders, "b", f"x{number % 2}", f"{number}.bmp")
    data = PairedImagesDataModule(str(folders / "a"), str(folders / "b"), num_workers=0)
    with pytest.raises(DataError, match=r"a/x\d/\d+\.png is 40x40 pixels and its partner .*\d+\.bmp 41x30"):
        next(iter(data.train_dataloader()))
    data = PairedImagesDataModule(str(folders / "b"), num_workers=0)
    with pytest.raises(DataError, match=r"b/x\d/\d+\.bmp is 41 pixels wide: two images side by side need an even"):
        next(iter(data.train_dataloader()))


@pytest.fixture
def kinds(tmp_path):
    for part, count in {"trainA": 6, "trainB": 10, "testA": 5, "testB": 2}.items():
        for number in range(count):
            shift = 100 if part.endswith("B") else 0
            save(ramp(shift + number, (40, 40) if shift else (20, 30)), tmp_path, part, f"{number}.png")
    return tmp_path


def test_unpaired_images_are_paired_at_random_in_every_epoch(kinds):
    data = UnpairedImagesDataModule(
        str(kinds), image_size=20, target_size=(40, 24), channels=1, target_channels=3, batch_size=5, num_workers=0
    )
    assert (data.image_shape, data.target_shape) == ((1, 20, 20), (3, 40, 24))
    loader = data.train_dataloader()
    meetings, met = set(), []
    for epoch in range(12):
        loader.sampler.set_epoch(epoch)
        a, b = all_of(loader)
        assert a.shape == (10, 1, 20, 20)
        assert b.shape == (10, 3, 40, 24)
        assert sorted(numbers(b)) == list(range(100, 110))  # an epoch shows the larger domain once
        rows = a[:, 0, :, 0].sum(1).tolist()  # darker or brighter by its number
        met.append(tuple(zip(rows, numbers(b), strict=True)))
        meetings |= set(met[-1])
    assert len(set(met)) == 12
    assert len(meetings) > 40


def test_validation_serves_every_image_once(kinds):
    data = UnpairedImagesDataModule(str(kinds), image_size=40, batch_size=2, num_workers=0)
    batches = list(data.val_dataloader())
    assert [(len(a), len(b)) for a, b in batches] == [(2, 2), (2, 0), (1, 0)]
    assert [numbers(torch.cat(domain)) for domain in zip(*batches, strict=True)] == [[0, 1, 2, 3, 4], [100, 101]]
    assert batches[1][1].shape == (0, 3, 40, 40)


def test_a_share_of_each_domain_is_held_out_where_there_is_no_test_set(kinds):
    for name in ("testA", "testB"):
        for path in (kinds / name).iterdir():
            path.unlink()
    data = UnpairedImagesDataModule(str(kinds), image_size=40, val_fraction=0.5, batch_size=1, num_workers=0)
    train, val = data.splits[0].paths, data.splits[1].paths
    assert [len(domain) for domain in (*train, *val)] == [3, 5, 3, 5]
    assert not set(train[0]) & set(val[0])
    assert not set(train[1]) & set(val[1])


@pytest.mark.parametrize("domain", ["A", "B"])
def test_an_empty_domain_is_named(kinds, domain):
    for path in (kinds / f"train{domain}").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=f"train{domain} holds no image: put domain {domain}'s there"):
        UnpairedImagesDataModule(str(kinds), num_workers=0).setup("fit")


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (
            lambda: PairedImagesDataModule(dataset="horse2zebra"),
            "PairedImagesDataModule has no set dataset='horse2zebra': choose",
        ),
        (
            lambda: UnpairedImagesDataModule(dataset="zebras"),
            "UnpairedImagesDataModule has no set dataset='zebras': choose",
        ),
        (lambda: PairedImagesDataModule("a", "b", dataset="maps"), "leave target_folder out"),
        (lambda: PairedImagesDataModule(direction="CtoA"), "direction='CtoA' must be 'AtoB' or 'BtoA'"),
        (lambda: PairedImagesDataModule(image_size=64, load_size=60), "load_size=60 must be at least image_size=64"),
        (lambda: UnpairedImagesDataModule(target_channels=2), "channels=2"),
        (lambda: UnpairedImagesDataModule(target_size=(8, 0)), r"image_size=\(8, 0\)"),
    ],
)
def test_bad_arguments_of_two_sides_are_refused_at_once(build, sentence):
    with pytest.raises(DataError, match=sentence):
        build()


def packed(kind, names):
    buffer = io.BytesIO()
    picture = io.BytesIO()
    ramp(1, (80, 40)).save(picture, "png")
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w") as archive:
            for name in names:
                archive.writestr(name, picture.getvalue())
    else:
        with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
            for name in names:
                entry = tarfile.TarInfo(name)
                entry.size = len(picture.getvalue())
                archive.addfile(entry, io.BytesIO(picture.getvalue()))
    return buffer.getvalue()


@pytest.fixture
def server(monkeypatch):
    """A dictionary of what a local server holds, instead of the published archives."""
    held = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body, announced = held.get(self.path, (None, 0))
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Length", str(announced))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_):
            pass

    running = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    monkeypatch.setattr(published_datasets, "SERVER", f"http://127.0.0.1:{running.server_port}")
    yield held
    running.shutdown()
    running.server_close()


def test_named_sets_are_fetched_once_and_used_afterwards(server, tmp_path, monkeypatch):
    body = packed("tar", ["facades/train/1.png", "facades/train/2.png", "facades/val/1.png", "facades/test/1.png"])
    server["/pix2pix/datasets/facades.tar.gz"] = (body, len(body))
    monkeypatch.setitem(
        published_datasets.PAIRED_SETS, "facades", published_datasets.PAIRED_SETS["facades"]._replace(size=len(body))
    )
    data = PairedImagesDataModule(str(tmp_path), dataset="facades", image_size=16, num_workers=0)
    data.prepare_data()
    assert [len(part) for part in data.splits] == [2, 1, 1]
    server.clear()
    data.prepare_data()  # nothing is asked of the server any more
    body = packed("zip", [f"horse2zebra/{part}/1.png" for part in ("trainA", "trainB", "testA", "testB")])
    server["/cyclegan/datasets/horse2zebra.zip"] = (body, len(body))
    set_ = published_datasets.UNPAIRED_SETS["horse2zebra"]._replace(size=len(body))
    monkeypatch.setitem(published_datasets.UNPAIRED_SETS, "horse2zebra", set_)
    data = UnpairedImagesDataModule(str(tmp_path), dataset="horse2zebra", image_size=16, num_workers=0)
    data.prepare_data()
    assert len(next(iter(data.train_dataloader()))[1]) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["facades", "horse2zebra"]


def test_a_set_that_comes_wrong_leaves_nothing(server, tmp_path):
    def fetch(name):
        return UnpairedImagesDataModule(str(tmp_path / "data"), dataset=name).prepare_data()

    with pytest.raises(DataError, match=r"horse2zebra\.zip could not be fetched .*404.*: try again later, or unpack"):
        fetch("horse2zebra")
    server["/cyclegan/datasets/horse2zebra.zip"] = (b"short", 5)
    with pytest.raises(DataError, match="gave 5 bytes, not 116867962"):
        fetch("horse2zebra")
    server["/pix2pix/datasets/edges2shoes.tar.gz"] = (b"no archive", 10)  # of unknown size
    with pytest.raises(DataError, match="cannot be unpacked"):
        PairedImagesDataModule(str(tmp_path / "data"), dataset="edges2shoes").prepare_data()
    evil = packed("tar", ["../evil.png"])
    server["/pix2pix/datasets/edges2shoes.tar.gz"] = (evil, len(evil))
    with pytest.raises(DataError, match="cannot be unpacked"):
        PairedImagesDataModule(str(tmp_path / "data"), dataset="edges2shoes").prepare_data()
    assert not list((tmp_path / "data").iterdir())
    assert not list(tmp_path.rglob("evil*"))


def test_a_server_that_cannot_be_reached(tmp_path, monkeypatch):
    monkeypatch.setattr(published_datasets, "SERVER", "http://127.0.0.1:9")
    with pytest.raises(DataError, match=r"http://127\.0\.0\.1:9/cyclegan/datasets/maps\.zip could not be fetched"):
        UnpairedImagesDataModule(str(tmp_path), dataset="maps").prepare_data()
