"""ImageFolderDataModule over folders made here; one colour for each file."""

import re

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules import DataError, ImageFolderDataModule
from datamodules.image_files import list_images


def make(folder, names, size=(20, 30)):
    """Write one grey image a name, whose grey is its index; return the folder."""
    for grey, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", size, grey).save(path)
    return str(folder)


def served(loader):
    """Pairs of an image's grey and the rest of its row."""
    return [
        (int(batch[0][i, 0, 0, 0]), *(int(t[i]) for t in batch[1:])) for batch in loader for i in range(len(batch[0]))
    ]


def test_every_image_is_served_once_by_one_split(tmp_path):
    folder = make(tmp_path, [f"{i // 7}/{i}.png" for i in range(40)])
    arguments = {"num_workers": 0, "batch_size": 6, "val_fraction": 0.25, "channels": 1}
    datamodule = ImageFolderDataModule(folder, **arguments)
    train, val = served(datamodule.train_dataloader()), served(datamodule.val_dataloader())
    assert len(train) == len(set(train)) == 30
    assert {grey for (grey,) in train + val} == set(range(40))
    assert val == served(datamodule.test_dataloader())
    again = ImageFolderDataModule(folder, **arguments)
    assert served(again.train_dataloader()) == train
    other = ImageFolderDataModule(folder, seed=1, **arguments)
    assert set(served(other.val_dataloader())) != set(val)


def test_labels_are_the_sorted_subfolders(tmp_path):
    names = [f"{name}/{i}/x.png" for name in ("zebra", "ant", "mole") for i in range(4)]
    datamodule = ImageFolderDataModule(make(tmp_path, names), num_classes=3, batch_size=3, num_workers=0, channels=1)
    pairs = served(datamodule.train_dataloader()) + served(datamodule.val_dataloader())
    assert len(pairs) >= 10
    assert all(label == {"zebra": 2, "ant": 0, "mole": 1}[names[grey].split("/")[0]] for grey, label in pairs)
    images, labels = next(iter(datamodule.val_dataloader()))
    assert (images.dtype, labels.dtype, datamodule.num_classes) == (torch.uint8, torch.int64, 3)


@pytest.mark.parametrize(("size", "shape"), [(24, (24, 24)), ((16, 40), (16, 40))])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_shape_is_known_before_and_true_after(tmp_path, size, shape, channels):
    datamodule = ImageFolderDataModule(
        str(tmp_path), image_size=size, channels=channels, batch_size=2, num_workers=0, val_fraction=0.5
    )
    assert datamodule.image_shape == (channels, *shape)
    assert datamodule.num_classes == 0
    make(tmp_path, ["a.png", "b.gif", "c.bmp"], size=(31, 17))
    (images,) = next(iter(datamodule.val_dataloader()))
    assert tuple(images.shape[1:]) == datamodule.image_shape
    assert images.is_contiguous()


def test_rows_and_columns_are_not_swapped(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (10, 14, 3), np.uint8)
    for name in "ab":
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
    datamodule = ImageFolderDataModule(
        str(tmp_path),
        image_size=(10, 14),
        val_fraction=0.5,
        batch_size=1,
        num_workers=0,
        horizontal_flip=True,
        crop="random",
    )
    (images,) = next(iter(datamodule.val_dataloader()))
    assert np.array_equal(images[0].numpy(), picture.transpose(2, 0, 1))


def test_validation_is_centred_and_never_mirrored(tmp_path):
    columns = np.tile(np.arange(60, dtype=np.uint8), (20, 1))
    for i in range(40):
        Image.fromarray(columns).save(tmp_path / f"{i}.png")
    datamodule = ImageFolderDataModule(
        str(tmp_path),
        image_size=20,
        channels=1,
        crop="random",
        horizontal_flip=True,
        val_fraction=0.5,
        batch_size=20,
        num_workers=0,
    )
    (val,), (train,) = next(iter(datamodule.val_dataloader())), next(iter(datamodule.train_dataloader()))
    assert (val[:, 0] == torch.arange(20, 40)).all()
    assert len({int(grey) for grey in train[:, 0, 0, 0]}) > 5
    steps = train[:, 0].int().diff(dim=-1)
    assert {int(step) for step in steps.unique()} == {-1, 1}


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_broken_image_is_named_from_any_process(tmp_path, num_workers):
    folder = make(tmp_path, ["a.png", "b.png", "c.png"])
    (tmp_path / "b.png").write_bytes(b"nonsense")
    (tmp_path / "c.png").write_bytes(b"nonsense")
    datamodule = ImageFolderDataModule(folder, val_fraction=0.3, batch_size=2, num_workers=num_workers)
    with pytest.raises(DataError, match=r"Cannot read the image .*[bc]\.png"):
        next(iter(datamodule.train_dataloader()))


def test_workers_read_the_same_images(tmp_path):
    folder = make(tmp_path, [f"{i}.png" for i in range(20)])
    plain, busy = (
        served(ImageFolderDataModule(folder, batch_size=4, num_workers=n).train_dataloader()) for n in (0, 2)
    )
    assert plain == busy


def test_nothing_is_opened_before_it_is_asked_for(tmp_path):
    for i in range(10):
        (tmp_path / f"{i}.png").write_bytes(b"nonsense")
    ImageFolderDataModule(str(tmp_path), batch_size=4, num_workers=0).setup("fit")


@pytest.mark.parametrize(
    ("names", "num_classes", "sentence"),
    [
        (["notes.txt"], 0, "holds no image"),
        (["a.png", "b.png"], 2, "0 subfolders with images, not num_classes=2: pass num_classes=0"),
        (["x/a.png", "y/b.png", "z/b.txt"], 3, "2 subfolders with images, not num_classes=3: pass num_classes=2"),
        (["x/a.png", "y/b.png", "loose.png"], 2, r"loose\.png lies in no subfolder"),
    ],
)
def test_folders_that_disagree_are_refused(tmp_path, names, num_classes, sentence):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(DataError, match=sentence) as caught:
        ImageFolderDataModule(str(tmp_path), num_classes=num_classes, batch_size=1).setup("fit")
    assert str(tmp_path) in str(caught.value)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(DataError, match=re.escape(f"There is no folder {tmp_path / 'nowhere'}")):
        ImageFolderDataModule(str(tmp_path / "nowhere")).setup("fit")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"image_size": (32, 0)}, r"image_size=\(32, 0\)"),
        ({"channels": 2}, "channels=2 must be 1"),
        ({"num_classes": -1}, "num_classes=-1"),
        ({"crop": "middle"}, "crop='middle'"),
        ({"val_fraction": 1.5}, "val_fraction=1.5"),
    ],
)
def test_bad_arguments_are_refused_at_once(arguments, sentence):
    with pytest.raises(DataError, match=sentence):
        ImageFolderDataModule("anywhere", **arguments)


def test_links_back_are_listed_once(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / name / f"{name}.png")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "b" / "self").symlink_to(tmp_path / "b")
    assert len(list_images(str(tmp_path))) == 2


@pytest.mark.parametrize(
    ("count", "batch_size", "sentence"),
    [
        (1, 1, "has no training sample: all that there is, 1, is held out to validate; bring more data"),
        (1, 64, "has no training sample"),
        (2, 2, "has 1 training sample, fewer than batch_size=2: lower batch_size to 1 or"),
        (6, 64, "has 5 training samples, fewer than batch_size=64: lower batch_size to 5 or"),
    ],
)
@pytest.mark.parametrize("pack", [False, True])
def test_too_few_images_are_told_with_a_remedy_that_helps(tmp_path, count, batch_size, sentence, pack):
    folder = make(tmp_path / "set", [f"{i}.png" for i in range(count)])
    options = {"num_workers": 0, "pack": str(tmp_path / "packs") if pack else None}
    with pytest.raises(DataError, match=sentence):
        ImageFolderDataModule(folder, batch_size=batch_size, **options).setup("fit")
    if match := re.search(r"lower batch_size to (\d)", sentence):
        assert len(ImageFolderDataModule(folder, batch_size=int(match[1]), **options).train_dataloader()) == 1


def test_two_images_are_one_to_train_and_one_to_validate_whatever_the_fraction(tmp_path):
    folder = make(tmp_path, ["a.png", "b.png"])
    data = ImageFolderDataModule(folder, batch_size=1, num_workers=0, val_fraction=0.9)
    data.setup("fit")
    assert [len(part) for part in data.splits] == [1, 1, 1]
