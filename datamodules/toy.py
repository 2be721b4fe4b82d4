"""Points in the plane whose distribution is known in closed form."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from .base import GANDataModule, require
from .in_memory import InMemory, require_fraction


class Distribution(NamedTuple):
    """One curve for each class: points lie uniformly along it, with Gaussian noise added."""

    num_classes: int
    std: float
    curve: Callable[[Tensor, Tensor], Tensor]  # labels (N,), position along the curve in [0, 1) (N,) -> points (N, 2)


def _on_circle(radius: Tensor | float, turns: Tensor) -> Tensor:
    angle = 2 * math.pi * turns
    return torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1)


def _eight_gaussians(labels: Tensor, position: Tensor) -> Tensor:
    return _on_circle(math.sqrt(2), labels / 8)


def _grid_of_gaussians(labels: Tensor, position: Tensor) -> Tensor:
    return (torch.stack([labels // 5, labels % 5], dim=1) - 2) / math.sqrt(2)


def _rings(labels: Tensor, position: Tensor) -> Tensor:
    return _on_circle(0.7 * (labels + 1), position)


def _moons(labels: Tensor, position: Tensor) -> Tensor:
    upper = _on_circle(1.0, position / 2) - torch.tensor([0.5, 0.25])
    return torch.where(labels[:, None] == 0, upper, -upper)


# The Gaussians are those of WGAN-GP's toy data (radius 2, σ 0.02, over √2; spacing 2, σ 0.05, over 2√2): every
# coordinate has unit variance, and σ is 0.01 of the radius and 0.025 of the spacing.
DISTRIBUTIONS = {
    "8gaussians": Distribution(8, 0.02 / math.sqrt(2), _eight_gaussians),
    "25gaussians": Distribution(25, 0.05 / math.sqrt(8), _grid_of_gaussians),
    "rings": Distribution(2, 0.03, _rings),
    "moons": Distribution(2, 0.05, _moons),
}


class ToyDataModule(GANDataModule):
    """Float32 points ``(N, 2)`` in about [-1.5, 1.5], labelled by mode, ring or moon, each equally likely.

    ``8gaussians`` lie on a circle and ``25gaussians`` on a grid, as in the toy data of WGAN-GP (Gulrajani et al. 2017,
    arXiv:1704.00028, Figure 1, after Metz et al. 2017, arXiv:1611.02163); ``rings`` are two circles of radius 0.7 and
    1.4; ``moons`` two interleaved half circles of radius 1.

    Args:
        distribution: One of "8gaussians", "25gaussians", "rings", "moons".
        num_samples: Number of points, training and validation together.
        val_fraction: Share of the points kept for validation.
        batch_size: Points in a batch, in each process.
        num_workers: Processes that load data besides the main one.
        seed: Seed of the points, of the split and of the order of the training data.

    Raises:
        DataError: If the distribution is unknown or another argument out of range.

    Example:
        >>> data = ToyDataModule("25gaussians")
        >>> data.centres.shape, round(data.std, 4)
        (torch.Size([25, 2]), 0.0177)
    """

    def __init__(
        self,
        distribution: Literal["8gaussians", "25gaussians", "rings", "moons"] = "8gaussians",
        *,
        num_samples: int = 50_000,
        val_fraction: float = 0.2,
        batch_size: int = 256,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size=batch_size, num_workers=num_workers, seed=seed)
        names = ", ".join(DISTRIBUTIONS)
        require(distribution in DISTRIBUTIONS, f"distribution={distribution!r} is unknown: choose one of {names}.")
        require(num_samples >= 2, f"num_samples={num_samples} must be at least 2.")
        require_fraction(val_fraction)
        self.distribution = distribution
        self.num_samples = num_samples
        self.val_fraction = val_fraction

    @property
    def point_shape(self) -> tuple[int]:
        """``(2,)``."""
        return (2,)

    @property
    def num_classes(self) -> int:
        """Number of modes, rings or moons."""
        return DISTRIBUTIONS[self.distribution].num_classes

    @property
    def std(self) -> float:
        """Standard deviation of the Gaussian noise on each coordinate."""
        return DISTRIBUTIONS[self.distribution].std

    @property
    def centres(self) -> Tensor:
        """Means ``(K, 2)`` of the Gaussians, in the order of the labels; DataError where there are none."""
        require(
            self.distribution.endswith("gaussians"),
            f"{self.distribution!r} has no centres: take '8gaussians' or '25gaussians' to count modes.",
        )
        labels = torch.arange(self.num_classes)
        return DISTRIBUTIONS[self.distribution].curve(labels, torch.zeros(len(labels)))

    def load(self) -> tuple[InMemory, InMemory, InMemory]:
        """Draw the points and split them at random; the validation set is the test set too."""
        generator = torch.Generator().manual_seed(self.seed)
        labels = torch.arange(self.num_samples) % self.num_classes
        position = torch.rand(self.num_samples, generator=generator)
        noise = self.std * torch.randn(self.num_samples, 2, generator=generator)
        points = DISTRIBUTIONS[self.distribution].curve(labels, position) + noise
        train, val = InMemory(points, labels).split(self.val_fraction, generator)
        return train, val, val
