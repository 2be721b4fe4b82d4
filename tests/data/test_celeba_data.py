"""CelebA from a made-up folder in the official layout; nothing is fetched."""

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
    assert f"img_align_celeba.zip to {tmp_path / 'celeba' / 'img_align_celeba'}" in sentence
    assert str(tmp_path / "celeba" / "list_eval_partition.txt") in sentence
    assert "\n" not in sentence


def test_download_off_says_which_files_go_where(tmp_path):
    datamodule = CelebADataModule(str(tmp_path), download=False)
    datamodule.prepare_data()
    with pytest.raises(DataError, match=r"list_eval_partition\.txt"):
        datamodule.setup("fit")


def test_a_half_unpacked_folder_is_noticed_before_training(root):
    (root / "celeba" / "img_align_celeba" / "000005.jpg").unlink()
    with pytest.raises(DataError, match=r"000005\.jpg"):
        CelebADataModule(str(root)).setup("fit")


def test_a_garbled_list_is_noticed(root):
    (root / "celeba" / "list_eval_partition.txt").write_text("000001.jpg\n")
    with pytest.raises(DataError, match=r"000001\.jpg"):
        CelebADataModule(str(root)).setup("fit")
