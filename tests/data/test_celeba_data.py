"""CelebA from a made-up folder in the official layout; nothing is fetched."""

import re
import shutil
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import functional as tv

from datamodules import CelebADataModule, DataError

PARTITION = [0] * 7 + [1] * 3 + [2] * 2


@pytest.fixture
def root(tmp_path):
    """Twelve noisy faces of the official 178 × 218 pixels: seven to train on, three to validate, two to test."""
    images = tmp_path / "celeba" / "img_align_celeba"
    images.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(12):
        Image.fromarray(rng.integers(0, 256, (218, 178, 3), np.uint8)).save(images / f"{i + 1:06d}.jpg")
    lines = [f"{i + 1:06d}.jpg {part}\n" for i, part in enumerate(PARTITION)]
    (tmp_path / "celeba" / "list_eval_partition.txt").write_text("".join(lines))
    return tmp_path


def usual_protocol(root, number):
    image = Image.open(root / "celeba" / "img_align_celeba" / f"{number:06d}.jpg")
    return tv.pil_to_tensor(tv.resize(tv.center_crop(image, [178, 178]), [64, 64]))


def test_splits_are_official_and_images_follow_the_usual_protocol(root):
    datamodule = CelebADataModule(str(root), batch_size=7, num_workers=0)
    datamodule.prepare_data()
    (val,), (test,) = next(iter(datamodule.val_dataloader())), next(iter(datamodule.test_dataloader()))
    assert tuple(val.shape[1:]) == datamodule.image_shape == (3, 64, 64)
    assert torch.equal(val, torch.stack([usual_protocol(root, n) for n in (8, 9, 10)]))
    assert torch.equal(test, torch.stack([usual_protocol(root, n) for n in (11, 12)]))
    (train,) = next(iter(datamodule.train_dataloader()))
    ours = sorted(image.numpy().tobytes() for image in train)
    assert ours == sorted(usual_protocol(root, n).numpy().tobytes() for n in range(1, 8))
    assert datamodule.num_classes == 0


def test_a_failed_download_says_which_files_go_where(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gdown", None)  # as where it is not installed
    with pytest.raises(DataError, match="gdown") as caught:
        CelebADataModule(str(tmp_path)).prepare_data()
    sentence = str(caught.value)
    assert (
        f"unzip img_align_celeba.zip, which holds the folder img_align_celeba, in {tmp_path / 'celeba'}, and put "
        f"list_eval_partition.txt there too"
    ) in sentence
    assert "\n" not in sentence


def test_download_off_says_which_files_go_where(tmp_path):
    datamodule = CelebADataModule(str(tmp_path), download=False)
    datamodule.prepare_data()
    with pytest.raises(DataError, match=r"no folder img_align_celeba with images .*list_eval_partition\.txt"):
        datamodule.setup("fit")


def test_who_follows_the_message_is_there(root, tmp_path_factory):
    """Unzip as the message says: the archive holds the folder."""
    packed = shutil.make_archive(
        str(tmp_path_factory.mktemp("fetched") / "img_align_celeba"), "zip", root / "celeba", "img_align_celeba"
    )
    shutil.rmtree(root / "celeba" / "img_align_celeba")
    with pytest.raises(DataError) as caught:
        CelebADataModule(str(root), download=False).setup("fit")
    (place,) = re.findall(r"which holds the folder img_align_celeba, in (\S+),", str(caught.value))
    shutil.unpack_archive(packed, place)
    assert len(CelebADataModule(str(root), download=False).splits[0]) == 7


def rows(separator, suffix=".jpg"):
    return "".join(f"{i + 1:06d}{suffix}{separator}{part}\n" for i, part in enumerate(PARTITION))


@pytest.mark.parametrize(
    "text",
    [
        ("image_id,partition\n" + rows(",")).encode(),
        ("image_id,partition\n" + rows(",")).encode("utf-8-sig"),
        rows(" ").encode("utf-8-sig"),
        rows(" ").replace("\n", "\r\n").encode("utf-16"),
        ("12\nimage_id  partition\n" + rows("\t ")).encode(),
        ('"image_id";"partition"\n' + rows('";"').replace("000", '"000').replace("\n", '"\n')).encode(),
        (rows("  ") + "\n\n").encode(),
    ],
)
@pytest.mark.parametrize("name", ["list_eval_partition.txt", "list_eval_partition.csv"])
def test_lists_in_every_form(root, text, name):
    (root / "celeba" / "list_eval_partition.txt").unlink()
    (root / "celeba" / name).write_bytes(text)
    splits = CelebADataModule(str(root)).splits
    numbers = [[int(path[-10:-4]) for path in part.paths] for part in splits]
    assert numbers == [[1, 2, 3, 4, 5, 6, 7], [8, 9, 10], [11, 12]]


@pytest.mark.parametrize(
    ("images", "partition"),
    [
        ("celeba/img_align_celeba/img_align_celeba", "celeba/list_eval_partition.csv"),
        ("img_align_celeba/img_align_celeba", "list_eval_partition.csv"),  # Kaggle's copy is the root
        ("img_align_celeba", "list_eval_partition.txt"),
        ("CelebA/Img/img_align_celeba", "CelebA/Eval/list_eval_partition.txt"),  # the official folders
        ("celeba/Img/img_align_celeba_png", "celeba/Eval/list_eval_partition.txt"),
    ],
)
def test_folders_in_every_place(root, images, partition):
    shutil.move(root / "celeba", root / "found")
    shutil.copytree(root / "found" / "img_align_celeba", root / images)
    (root / partition).parent.mkdir(parents=True, exist_ok=True)
    shutil.move(root / "found" / "list_eval_partition.txt", root / partition)
    shutil.rmtree(root / "found")
    (root / "celeba" / "img_celeba").mkdir(parents=True, exist_ok=True)  # the photographs before their alignment
    (root / "celeba" / "img_celeba" / "000001.jpg").touch()
    if images.endswith("png"):
        for path in (root / images).iterdir():
            Image.open(path).save(path.with_suffix(".png"))
            path.unlink()
    train, val, test = CelebADataModule(str(root)).splits
    assert [len(part) for part in (train, val, test)] == [7, 3, 2]
    assert train.paths[0].startswith(str(root / images / "000001."))
    assert train.__getitems__([0])[0].shape == (1, 3, 64, 64)


def test_a_half_unpacked_folder_is_noticed_before_training(root):
    (root / "celeba" / "img_align_celeba" / "000005.jpg").unlink()
    with pytest.raises(DataError, match=r"000005\.jpg"):
        CelebADataModule(str(root)).setup("fit")


def test_a_garbled_list_is_noticed(root):
    (root / "celeba" / "list_eval_partition.txt").write_text("000001.jpg\n")
    with pytest.raises(DataError, match=r"000001\.jpg"):
        CelebADataModule(str(root)).setup("fit")
