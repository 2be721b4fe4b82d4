"""What folders say about a set: its splits and its classes, in the layouts that people have."""

import json
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules import DataError, ImageFolderDataModule, PairedImagesDataModule, UnpairedImagesDataModule

FLAT = {"image_size": 4, "channels": 1, "batch_size": 1, "num_workers": 0}


def make(root, names):
    """One grey image a name, whose grey is its index; the names by grey."""
    for grey, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), grey).save(root / name)
    return str(root)


def served(dataset, names):
    """The names of a set's images with their labels."""
    images, *labels = dataset.__getitems__(list(range(len(dataset))))
    found = [names[grey] for grey in images[:, 0, 0, 0].tolist()]
    return dict(zip(found, labels[0].tolist(), strict=True)) if labels else set(found)


def split_names(train, val, test, inside=False):
    def place(split, animal, i):
        return f"{animal}/{split}/{i}.png" if inside else f"{split}/{animal}/{i}.png"

    splits = [split for split in (train, val, test) if split]
    return [place(split, animal, i) for split in splits for animal in ("cat", "dog") for i in "012"]


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("pack", [False, True])
@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("train", "val", "test"),
        ("Train", "Validation", "TEST"),
        ("training", "valid", "testing"),
        ("train", None, "test"),
        ("train", "val", None),
    ],
)
def test_splits_of_a_layout_are_splits(tmp_path, train, val, test, inside, pack):
    names = split_names(train, val, test, inside)
    folder = make(tmp_path / "set", names)
    data = ImageFolderDataModule(folder, num_classes=2, pack=str(tmp_path / "packs") if pack else None, **FLAT)
    sets = [served(part, names) for part in data.splits]
    for split, found in zip((train, val or test, test or val), sets, strict=True):
        wanted = [name for name in names if split in name.split("/")]
        assert found == {name: int("dog" in name.split("/")) for name in wanted}
    assert data.classes == ("cat", "dog")
    unlabelled = ImageFolderDataModule(folder, **FLAT)
    assert served(unlabelled.splits[0], names) == set(sets[0])
    assert unlabelled.classes == ()


def test_a_train_folder_alone_is_split_at_random(tmp_path):
    names = split_names("train", None, None)
    data = ImageFolderDataModule(make(tmp_path, names), num_classes=2, val_fraction=0.34, **FLAT)
    train, val, _ = (served(part, names) for part in data.splits)
    assert train | val == {name: int("dog" in name) for name in names}
    assert (len(train), len(val)) == (4, 2)


def test_train_may_be_a_class_among_others(tmp_path):
    names = [f"{name}/{i}.png" for name in ("boat", "train", "car") for i in range(3)]
    data = ImageFolderDataModule(make(tmp_path, names), num_classes=3, **FLAT)
    assert data.classes == ("boat", "car", "train")
    train, val, _ = (served(part, names) for part in data.splits)
    assert train | val == {name: ["boat", "car", "train"].index(name.split("/")[0]) for name in names}


@pytest.mark.parametrize(
    ("names", "classes", "sentence"),
    [
        (["train/a.png", "test/b.png", "masks/a.png"], 0, r"folders for test and train, and masks/a\.png lies in none"),
        (["train/a.png", "val/b.png", "loose.png"], 0, r"loose\.png lies in none of them"),
        (["test/a.png", "val/b.png"], 0, "holds the split test and val but no folder train"),
        (["train/cat/a.png", "test/b.png"], 1, r"test/b\.png lies in no subfolder"),
        (["train/cat/a.png", "test/dog/b.png"], 1, r"test/dog/b\.png .* class that no training image has"),
        (["train/cat/a.png", "test/cat/b.png"], 2, "has 1 subfolders with images, not num_classes=2"),
    ],
)
def test_layouts_that_say_two_things_are_refused(tmp_path, names, classes, sentence):
    with pytest.raises(DataError, match=sentence):
        ImageFolderDataModule(make(tmp_path, names), num_classes=classes, **FLAT).setup("fit")


def test_paired_and_unpaired_sets_know_the_same_splits(tmp_path):
    for grey, name in enumerate(["TRAIN/1.png", "Valid/2.png", "test/3.png"]):
        for domain in "ab":
            (tmp_path / domain / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (4, 4), grey).save(tmp_path / domain / name)
    data = PairedImagesDataModule(str(tmp_path / "a"), str(tmp_path / "b"), **FLAT)
    assert [[first.rpartition("a/")[2] for first, _ in part.pairs] for part in data.splits] == [
        ["TRAIN/1.png"],
        ["Valid/2.png"],
        ["test/3.png"],
    ]
    for grey, name in enumerate(["trainA", "TrainB", "val_a", "valB", "testA", "testB"]):
        (tmp_path / "u" / name).mkdir(parents=True)
        Image.new("L", (4, 4), grey).save(tmp_path / "u" / name / "x.png")
    data = UnpairedImagesDataModule(str(tmp_path / "u"), **FLAT)
    assert [[image.flatten()[0].item() for image in part.__getitems__([0])] for part in data.splits] == [
        [0, 1],
        [2, 3],
        [4, 5],
    ]


def test_classes_are_in_natural_order(tmp_path, caplog):
    names = [f"class {i}/{j}.png" for i in (10, 9, 2, 1, 100) for j in range(2)]
    data = ImageFolderDataModule(make(tmp_path, names), num_classes=5, **FLAT)
    assert data.classes == ("class 1", "class 2", "class 9", "class 10", "class 100")
    with caplog.at_level("INFO"):
        train, val, _ = (served(part, names) for part in data.splits)
    assert all(data.classes[label] == name.split("/")[0] for name, label in (train | val).items())
    assert "natural order: class 1, class 2, class 9, class 10, class 100" in caplog.text


# ---- Archives, and NVIDIA's labels -------------------------------------------------------------------------------


def pack_as_nvidia(folder, path, labels):
    """What dataset_tool writes: images in numbered folders, stored, and dataset.json."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(folder.rglob("*.png")):
            archive.write(file, file.relative_to(folder).as_posix())
        archive.writestr("dataset.json", json.dumps({"labels": labels}))
    return str(path)


@pytest.fixture
def numbered(tmp_path):
    names = [f"{i // 4:05d}/img{i:08d}.png" for i in range(12)]
    make(tmp_path / "set", names)
    return tmp_path, names


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("one_hot", [False, True])
def test_nvidias_zip_is_a_labelled_set(numbered, workers, one_hot):
    root, names = numbered
    wanted = {name: i % 3 for i, name in enumerate(names)}
    labels = [[name, [int(label == k) for k in range(3)] if one_hot else label] for name, label in wanted.items()]
    options = FLAT | {"num_workers": workers, "batch_size": 2}
    path = pack_as_nvidia(root / "set", root / "set.zip", labels)
    data = ImageFolderDataModule(path, num_classes=3, **options)
    assert len(data.classes) == 3
    found = {}
    for loader in (data.train_dataloader(), data.val_dataloader()):
        for images, classes in loader:
            found |= {names[i]: k for i, k in zip(images[:, 0, 0, 0].tolist(), classes.tolist(), strict=True)}
    assert found == wanted or len(found) == 11  # an epoch of full batches leaves one out
    assert found.items() <= wanted.items()
    assert all(len(batch) == 1 for batch in ImageFolderDataModule(path, **options).val_dataloader())
    packed = ImageFolderDataModule(path, num_classes=3, pack=str(root / "packs"), **options)
    assert served(packed.splits[0], names) | served(packed.splits[1], names) == wanted


def test_a_zip_gives_what_its_folder_gives(tmp_path):
    names = split_names("train", "val", "test")
    folder = make(tmp_path / "set", names)
    with zipfile.ZipFile(tmp_path / "set.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in [*names, *names[:1]]:
            archive.write(f"{folder}/{name}", name)
        archive.writestr("__MACOSX/train/cat/._0.png", b"no picture")
    packed, plain = (ImageFolderDataModule(place, num_classes=2, **FLAT) for place in (f"{folder}.zip", folder))
    assert [served(part, names) for part in packed.splits] == [served(part, names) for part in plain.splits]


def test_a_folder_may_have_nvidias_labels_too(numbered):
    root, names = numbered
    labels = [[name.replace("/", "\\"), 11 - i] for i, name in enumerate(names)]
    (root / "set" / "dataset.json").write_text(json.dumps({"labels": labels}))
    data = ImageFolderDataModule(str(root / "set"), num_classes=12, **FLAT)
    assert served(data.splits[0], names).items() <= {name: 11 - i for i, name in enumerate(names)}.items()


@pytest.mark.parametrize(
    ("noted", "sentence"),
    [
        ('{"labels": [["00000/img00000000.png", 0]]}', r"has no label for 00000/img00000001\.png"),
        ('{"labels": [["00000/img00000000.png", [0.5, 2.0]]]}', r"by \[0\.5, 2\.0\], which is no class index"),
        ('{"labels": [["00000/img00000000.png", -1]]}', "by -1, which is no class index"),
        ('{"labels": [["00000/img00000000.png"', "cannot be read"),
        ('{"tags": []}', "cannot be read"),
        ('{"labels": null}', "holds no labels: pass num_classes=0"),
    ],
)
def test_labels_that_do_not_fit_are_refused(numbered, noted, sentence):
    root, _ = numbered
    (root / "set" / "dataset.json").write_text(noted)
    with pytest.raises(DataError, match=sentence):
        ImageFolderDataModule(str(root / "set"), num_classes=2, **FLAT).setup("fit")


def test_damaged_and_encrypted_archives_are_refused(tmp_path):
    (tmp_path / "bad.zip").write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"bad\.zip' is neither a folder nor a zip file"):
        ImageFolderDataModule(str(tmp_path / "bad.zip"), **FLAT).setup("fit")
    make(tmp_path / "set", ["a.png", "b.png"])
    pack_as_nvidia(tmp_path / "set", tmp_path / "cut.zip", None)
    whole = bytearray((tmp_path / "cut.zip").read_bytes())
    whole[35:60] = bytes(25)
    (tmp_path / "cut.zip").write_bytes(whole)
    data = ImageFolderDataModule(str(tmp_path / "cut.zip"), val_fraction=0.5, **FLAT)
    with pytest.raises(DataError, match=r"Cannot read .*a\.png"):
        list(data.splits[0]) + list(data.splits[1])


def test_images_of_an_archive_are_read_as_files_are(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (6, 6, 3), np.uint8)
    for name in ("a", "b"):
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
    path = pack_as_nvidia(tmp_path, tmp_path / "set.zip", None)
    data = ImageFolderDataModule(path, image_size=6, val_fraction=0.5, batch_size=1, num_workers=0)
    (image,) = data.splits[0].__getitems__([0])
    assert torch.equal(image[0], torch.from_numpy(picture).permute(2, 0, 1))
