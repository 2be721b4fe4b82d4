"""Data held in memory as tensors: a batch is one indexing operation."""

from __future__ import annotations

import torch
from torch import Generator, Tensor
from torch.nn.functional import interpolate

from .base import Batch, BatchedDataset, require


class InMemory(BatchedDataset):
    """Tensors that share their first dimension; images stay uint8, four times smaller than floats.

    Args:
        tensors: Samples ``(N, …)``, then labels ``(N,)`` or other conditions ``(N, …)``.
    """

    def __init__(self, *tensors: Tensor) -> None:
        self.tensors = tensors

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitems__(self, indices: list[int]) -> Batch:
        rows = torch.tensor(indices)
        return tuple(tensor[rows] for tensor in self.tensors)

    def split(self, val_fraction: float, generator: Generator) -> tuple[InMemory, InMemory]:
        """Return disjoint random training and validation sets; see ``split_indices``."""
        train, val = split_indices(len(self), val_fraction, generator)
        return InMemory(*(t[train] for t in self.tensors)), InMemory(*(t[val] for t in self.tensors))


def split_indices(size: int, val_fraction: float, generator: Generator) -> tuple[Tensor, Tensor]:
    """Return disjoint training and validation indices, drawn from the generator.

    The validation set holds ``val_fraction`` of the samples, to the nearest, but at least one, and not all where there
    are several.
    """
    order = torch.randperm(size, generator=generator)
    val_size = max(1, min(round(size * val_fraction), size - 1))
    return order[val_size:], order[:val_size]


def require_fraction(val_fraction: float) -> None:
    """Raise DataError unless ``val_fraction`` lies strictly between 0 and 1."""
    require(0 < val_fraction < 1, f"val_fraction={val_fraction} must lie strictly between 0 and 1.")


def resize(images: Tensor, size: int) -> Tensor:
    """Return uint8 images ``(N, C, H, W)`` resized bilinearly to ``(N, C, size, size)``, antialiased."""
    if images.shape[-2:] == (size, size):
        return images
    return interpolate(images, (size, size), mode="bilinear", antialias=True)
