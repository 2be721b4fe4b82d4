"""MNIST, FashionMNIST and CIFAR-10 from tiny files in the official formats, with the network shut."""

import gzip
import hashlib
import pickle
import socket

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import CIFAR10

from datamodules import CIFAR10DataModule, DataError, FashionMNISTDataModule, MNISTDataModule

RNG = np.random.default_rng(0)
GREYS = {"train": RNG.integers(0, 256, (40, 28, 28), np.uint8), "t10k": RNG.integers(0, 256, (12, 28, 28), np.uint8)}
LABELS = {"train": np.arange(40, dtype=np.uint8) % 10, "t10k": np.arange(12, dtype=np.uint8) % 10}
MNISTS = [MNISTDataModule, FashionMNISTDataModule]


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_):
        raise OSError("the network is shut")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def idx(array: np.ndarray) -> bytes:
    """Yann LeCun's format: two zeros, the type (8: unsigned byte), the rank, big-endian sizes, the bytes."""
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes() + array.tobytes()


def write_mnist(raw, compress=False):
    raw.mkdir(parents=True)
    for split in ("train", "t10k"):
        for kind, array in (("images-idx3", GREYS), ("labels-idx1", LABELS)):
            name, data = f"{split}-{kind}-ubyte", idx(array[split])
            if compress:
                (raw / f"{name}.gz").write_bytes(gzip.compress(data))
            else:
                (raw / name).write_bytes(data)


@pytest.mark.parametrize("datamodule_class", MNISTS)
def test_files_in_place_need_no_network(datamodule_class, tmp_path):
    write_mnist(tmp_path / datamodule_class.published.reader.__name__ / "raw")
    datamodule = datamodule_class(str(tmp_path), image_size=28, download=True, batch_size=12)
    datamodule.prepare_data()
    train, val, test = datamodule.load()
    assert np.array_equal(train.tensors[0][:, 0].numpy(), GREYS["train"])
    assert np.array_equal(val.tensors[0][:, 0].numpy(), GREYS["t10k"])
    assert np.array_equal(train.tensors[1].numpy(), LABELS["train"])
    assert test is val
    images, labels = next(iter(datamodule.val_dataloader()))
    assert images.shape[1:] == datamodule.image_shape == (1, 28, 28)
    assert (images.dtype, labels.dtype, datamodule.num_classes) == (torch.uint8, torch.int64, 10)


def test_gzipped_files_with_the_right_checksums_are_unpacked(tmp_path, monkeypatch):
    raw = tmp_path / "MNIST" / "raw"
    write_mnist(raw, compress=True)
    checksums = [(path.name, hashlib.md5(path.read_bytes()).hexdigest()) for path in raw.iterdir()]
    monkeypatch.setattr(MNISTDataModule.published.reader, "resources", checksums)
    datamodule = MNISTDataModule(str(tmp_path), image_size=28)
    datamodule.prepare_data()
    assert np.array_equal(datamodule.load()[0].tensors[0][:, 0].numpy(), GREYS["train"])


def test_default_size_is_resized_as_pillow_does(tmp_path):
    write_mnist(tmp_path / "MNIST" / "raw")
    datamodule = MNISTDataModule(str(tmp_path))
    images = datamodule.load()[0].tensors[0]
    assert tuple(images.shape[1:]) == datamodule.image_shape == (1, 32, 32)
    for before, after in zip(GREYS["train"], images[:, 0].numpy(), strict=True):
        pillow = np.asarray(Image.fromarray(before).resize((32, 32), Image.Resampling.BILINEAR))
        assert np.abs(pillow.astype(int) - after).max() <= 1


def test_cifar_keeps_colours_rows_and_columns_apart(tmp_path, monkeypatch):
    folder = tmp_path / CIFAR10.base_folder
    folder.mkdir()
    pixels = RNG.integers(0, 256, (6, 3, 32, 32), np.uint8)  # one image a file, five for training
    checksums = {}
    for index, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        data = pickle.dumps({"data": pixels[index].reshape(1, -1), "labels": [index]})
        (folder / name).write_bytes(data)
        checksums[name] = hashlib.md5(data).hexdigest()
    meta = pickle.dumps({"label_names": list("abcdefghij")})
    (folder / "batches.meta").write_bytes(meta)
    monkeypatch.setattr(CIFAR10, "train_list", [[n, c] for n, c in checksums.items() if n != "test_batch"])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", checksums["test_batch"]]])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": hashlib.md5(meta).hexdigest()})

    datamodule = CIFAR10DataModule(str(tmp_path))
    datamodule.prepare_data()
    train, val, _ = datamodule.load()
    assert datamodule.image_shape == (3, 32, 32)
    assert np.array_equal(train.tensors[0].numpy(), pixels[:5])
    assert np.array_equal(val.tensors[0].numpy(), pixels[5:])
    assert train.tensors[1].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("datamodule_class", [*MNISTS, CIFAR10DataModule])
def test_missing_files_are_named_with_their_place(datamodule_class, tmp_path):
    name = datamodule_class.published.reader.__name__
    with pytest.raises(
        DataError, match=f"{name} could not be fetched.*put .*{datamodule_class.published.files[:8]}"
    ) as caught:
        datamodule_class(str(tmp_path)).prepare_data()
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)
    untouched = datamodule_class(str(tmp_path / "elsewhere"), download=False)
    untouched.prepare_data()
    with pytest.raises(DataError, match=f"{name} was not found.*download=True"):
        untouched.setup("fit")


@pytest.mark.parametrize("damage", [b"", b"\x1f\x8b\x08\x00 not idx at all", idx(GREYS["train"])[:-100]])
def test_a_damaged_file_is_a_sentence(damage, tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    write_mnist(raw)
    (raw / "train-images-idx3-ubyte").write_bytes(damage)
    with pytest.raises(DataError, match=r"MNIST was not found or cannot be read"):
        MNISTDataModule(str(tmp_path), download=False).load()


def test_bad_size_is_refused():
    with pytest.raises(DataError, match="image_size=0"):
        MNISTDataModule(image_size=0)
