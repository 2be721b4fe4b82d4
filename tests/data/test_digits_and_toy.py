"""Digits against scikit-learn's array; points against the closed form of their distribution."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import kstest
from sklearn.datasets import load_digits, make_moons

from datamodules import DataError, DigitsDataModule, ToyDataModule


def whole(datamodule):
    """Images or points, and labels, of both splits."""
    train, val, _ = datamodule.load()
    return [torch.cat(pair) for pair in zip(train.tensors, val.tensors, strict=True)]


def test_digits_are_scikit_learns():
    images, labels = whole(DigitsDataModule(image_size=8))
    theirs = load_digits()
    assert images.shape == (1797, 1, 8, 8)
    sixteenths = (images[:, 0].double() * 16 / 255).round()
    ours = sorted((*digit.flatten().tolist(), label) for digit, label in zip(sixteenths, labels.tolist(), strict=True))
    assert ours == sorted((*digit.flatten(), label) for digit, label in zip(theirs.images, theirs.target, strict=True))
    assert (images.min(), images.max()) == (0, 255)


@pytest.mark.parametrize("size", [16, 5])
def test_digits_are_resized_as_pillow_does(size):
    small, _ = whole(DigitsDataModule(image_size=8))
    resized, _ = whole(DigitsDataModule(image_size=size))
    for before, after in zip(small[:50, 0], resized[:50, 0], strict=True):
        pillow = np.asarray(Image.fromarray(before.numpy()).resize((size, size), Image.Resampling.BILINEAR))
        assert np.abs(pillow.astype(int) - after.numpy()).max() <= 1  # one rounding apart


@pytest.mark.parametrize(
    ("name", "modes", "ratio"),
    [("8gaussians", 8, lambda c: c[0].norm() / 100), ("25gaussians", 25, lambda c: (c[1] - c[0]).norm() / 40)],
)
def test_gaussians_have_the_stated_means_and_spread(name, modes, ratio):
    datamodule = ToyDataModule(name, num_samples=200_000)
    points, labels = whole(datamodule)
    assert datamodule.num_classes == modes
    assert datamodule.std == pytest.approx(float(ratio(datamodule.centres)))
    assert points.dtype == torch.float32
    assert points.abs().max() < 1.55
    # WGAN-GP divides by the standard deviation: every coordinate has unit variance, but for the noise.
    torch.testing.assert_close(points.var(dim=0), torch.ones(2) + datamodule.std**2, rtol=0.01, atol=0)
    n = 200_000 / modes
    for mode in range(modes):
        of_mode = points[labels == mode]
        assert len(of_mode) == n
        error_of_mean = (of_mode.mean(dim=0) - datamodule.centres[mode]).abs() / (datamodule.std / math.sqrt(n))
        assert error_of_mean.max() < 5
        assert of_mode.std(dim=0).tolist() == pytest.approx([datamodule.std] * 2, rel=5 / math.sqrt(2 * n))


def test_eight_centres_are_the_papers():
    corner = math.sqrt(0.5)
    papers = [(1, 0), (-1, 0), (0, 1), (0, -1), *((x, y) for x in (corner, -corner) for y in (corner, -corner))]
    ours = ToyDataModule("8gaussians").centres / math.sqrt(2)
    distances = torch.cdist(ours, torch.tensor(papers))
    assert distances.min(dim=0).values.max() < 1e-6


def test_rings_are_round_and_as_thick_as_stated():
    datamodule = ToyDataModule("rings", num_samples=100_000)
    points, labels = whole(datamodule)
    for ring, radius in enumerate((0.7, 1.4)):
        x, y = points[labels == ring].double().T
        # E[x² + y²] = r² + 2σ², with variance 4r²σ² + 4σ⁴
        spread = 2 * radius * datamodule.std / math.sqrt(50_000)
        assert float((x**2 + y**2).mean()) == pytest.approx(radius**2 + 2 * datamodule.std**2, abs=5 * spread)
        assert float((x**2 + y**2).sqrt().std()) == pytest.approx(datamodule.std, rel=0.03)
        assert kstest(torch.atan2(y, x).numpy(), "uniform", (-math.pi, 2 * math.pi)).pvalue > 1e-4


def test_moons_are_scikit_learns_centred():
    datamodule = ToyDataModule("moons", num_samples=20_000)
    points, labels = whole(datamodule)
    curve, moon = make_moons(4_000)
    for index in range(2):
        line = torch.from_numpy(curve[moon == index] - [0.5, 0.25]).float()
        distance = torch.cdist(points[labels == index], line).min(dim=1).values
        # The distance to a curve is |N(0, σ²)|, whose mean is σ √(2/π); beyond the tips it is a little more.
        assert float(distance.mean()) == pytest.approx(datamodule.std * math.sqrt(2 / math.pi), rel=0.05)
        middle = torch.cdist(line, points[labels == index]).min(dim=1).values
        assert middle.max() < 3 * datamodule.std, "a stretch of the moon has no points"


def test_seed_decides_the_points():
    first, again, other = (ToyDataModule("moons", num_samples=100, seed=seed).load()[0] for seed in (0, 0, 1))
    assert torch.equal(first.tensors[0], again.tensors[0])
    assert not torch.equal(first.tensors[0], other.tensors[0])


def test_points_are_not_rescaled():
    datamodule = ToyDataModule("rings", num_samples=100, batch_size=10)
    points, labels = next(iter(datamodule.train_dataloader()))
    assert torch.equal(datamodule.on_after_batch_transfer((points, labels), 0)[0], points)
    assert datamodule.point_shape == tuple(points.shape[1:]) == (2,)
    assert not hasattr(datamodule, "image_shape")


def test_errors_name_the_choices():
    with pytest.raises(DataError, match=r"distribution='spiral' is unknown.*8gaussians, 25gaussians, rings, moons"):
        ToyDataModule("spiral")
    with pytest.raises(DataError, match="num_samples=1 must be at least 2"):
        ToyDataModule(num_samples=1)
    for name in ("rings", "moons"):
        with pytest.raises(DataError, match=f"'{name}' has no centres"):
            _ = ToyDataModule(name).centres
