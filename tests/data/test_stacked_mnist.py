"""Stacked greys against the greys they are made of, and against the statistics of independent draws."""

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from datamodules import DataError, DigitsDataModule, FashionMNISTDataModule, MNISTDataModule, StackedMNISTDataModule


def rows(images):
    return {image.numpy().tobytes() for image in images}


def whole(dataset):
    return dataset.__getitems__(list(range(len(dataset))))


def test_each_colour_is_a_digit_of_the_right_split_and_the_label_spells_them():
    data = StackedMNISTDataModule("digits", image_size=8, num_samples=600, num_val_samples=300, seed=3)
    train, val, test = data.load()
    assert test is val
    sources = DigitsDataModule(image_size=8, seed=3).load()
    for stacked, source, size in ((train, sources[0], 600), (val, sources[1], 300)):
        images, labels = whole(stacked)
        assert (images.shape, images.dtype) == ((size, 3, 8, 8), torch.uint8)
        class_of = {grey.numpy().tobytes(): int(label) for grey, label in zip(*source.tensors, strict=True)}
        for image, label in zip(images, labels.tolist(), strict=True):
            assert f"{label:03d}" == "".join(str(class_of[channel.numpy().tobytes()]) for channel in image)


def test_the_modes_are_drawn_evenly_and_independently():
    """By counts alone: the colours' classes have the source's proportions, and no colour knows of another."""
    data = StackedMNISTDataModule("digits", num_samples=100_000)
    stacked = data.load()[0]
    shares = np.bincount(stacked.classes.numpy(), minlength=10) / len(stacked.classes)
    labels = (stacked.classes[stacked.triples] @ torch.tensor([100, 10, 1])).numpy()
    expected = np.einsum("a,b,c->abc", shares, shares, shares).ravel() * len(labels)
    assert chisquare(np.bincount(labels, minlength=1000), expected).pvalue > 1e-4
    assert len(np.unique(labels)) == data.num_classes == 1000


def test_the_seed_alone_decides():
    def first(seed):
        torch.manual_seed(torch.seed() % 1000)
        return whole(StackedMNISTDataModule("digits", num_samples=50, num_val_samples=5, seed=seed).load()[0])[0]

    assert torch.equal(first(0), first(0))
    assert not torch.equal(first(0), first(1))


def test_loaders_give_scaled_rgb_in_the_shape_stated_beforehand():
    data = StackedMNISTDataModule("digits", image_size=16, num_samples=64, batch_size=32)
    assert "splits" not in vars(data)
    batch = next(iter(data.train_dataloader()))
    images, labels = data.on_after_batch_transfer(batch, 0)
    assert tuple(images.shape) == (32, *data.image_shape)
    assert -1 <= images.min() < images.max() <= 1
    assert labels.max() < data.num_classes
    assert all((images[:, a] != images[:, b]).flatten(1).any(1).float().mean() > 0.9 for a, b in ((0, 1), (1, 2)))


@pytest.mark.parametrize(("source", "of"), [("mnist", MNISTDataModule), ("fashion_mnist", FashionMNISTDataModule)])
def test_missing_files_of_the_source_are_named(tmp_path, source, of):
    data = StackedMNISTDataModule(source, str(tmp_path), download=False)
    data.prepare_data()
    with pytest.raises(DataError, match=f"^{of.published.reader.__name__} was not found.*{tmp_path}"):
        data.setup("fit")


@pytest.mark.parametrize(
    "arguments", [{"source": "cifar10"}, {"image_size": 0}, {"num_samples": 0}, {"num_val_samples": 0}]
)
def test_bad_arguments_are_named(arguments):
    (name,) = arguments
    with pytest.raises(DataError, match=f"^{name}="):
        StackedMNISTDataModule(**arguments)
