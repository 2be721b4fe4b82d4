"""Samples to be scored: of the same latents whatever the number of processes, of classes as frequent as the reals'."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor


class Sampler(Protocol):
    """A model that makes images from noise; `gan_modules.base` holds the real ones."""

    image_shape: tuple[int, ...]
    num_classes: int

    def sample(
        self,
        n: int,
        *,
        labels: Tensor | None = None,
        seed: int | None = None,
        truncation: float = 1.0,
        ema: bool = True,
    ) -> Tensor:
        """Samples ``(n, *image_shape)`` in [-1, 1]."""


def generate(
    model: Sampler,
    n: int,
    *,
    batch_size: int,
    seed: int,
    class_counts: Tensor | None = None,
    truncation: float = 1.0,
    ema: bool = True,
    rank: int = 0,
    world_size: int = 1,
) -> Iterator[Tensor]:
    """This process's share of `n` samples, ``(≤ batch_size, C, H, W)`` in [-1, 1] at a time, by processes in turn.

    Batch i has a seed of its own, which no other pair of `seed` and i has. Each process makes as many batches,
    though the last ones may count for nothing and be empty: a sharded generator needs all processes.

    Args:
        model: Makes them.
        n: How many, over all processes.
        batch_size: How many at a time, also where fewer count.
        seed: Their seed, from 0 to 2³¹ - 1.
        class_counts: How many reals each class has ``(num_classes,)``: the samples' labels are those of the reals,
            sorted and evenly thinned out or repeated. `None` for a model that knows no classes.
        truncation: See `gan_modules.base.LatentGAN.sample`.
        ema: See there.
        rank: This process.
        world_size: The number of processes.
    """
    stride = batch_size * world_size
    planned = math.ceil(n / stride) * stride
    labels = None
    if class_counts is not None:
        n_real = int(class_counts.sum())
        places = torch.arange(planned, device=class_counts.device) * n_real // n
        labels = torch.searchsorted(class_counts.cumsum(0), places.clamp(max=n_real - 1), right=True)
    for start in range(rank * batch_size, planned, stride):
        images = model.sample(
            batch_size,
            labels=None if labels is None else labels[start : start + batch_size],
            seed=(seed << 32) + start // batch_size,
            truncation=truncation,
            ema=ema,
        )
        yield images[: max(n - start, 0)]
