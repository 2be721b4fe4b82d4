"""Samples to be scored: of the same latents whatever the number of processes, of classes as frequent as the reals'."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor, distributed

SEEDS = 2**16  # how many there are


class Sampler(Protocol):
    """A model that makes images from noise; `gan_modules.families.latent` holds the real ones."""

    image_shape: tuple[int, ...]
    num_classes: int

    def sample(
        self,
        n: int,
        *,
        labels: Tensor | None = None,
        z: Tensor | None = None,
        seed: int | None = None,
        truncation: float = 1.0,
        ema: bool = True,
    ) -> Tensor:
        """Samples ``(n, *image_shape)`` in [-1, 1]."""


@dataclass
class Draw:
    """How samples are drawn from a model, batch after batch, by processes in turn.

    Batch i has a seed of its own, which no other `seed` gives to any batch below 65,536. Each process makes as many
    batches, though the last ones may count for nothing: a sharded generator needs all processes.

    Attributes:
        model: Makes them.
        batch_size: How many at a time.
        seed: Their seed, below `SEEDS`.
        class_counts: How many reals each class has ``(num_classes,)``: the samples' labels are those of the reals,
            sorted and evenly thinned out or repeated. `None` for a model that knows no classes.
        truncation: See `gan_modules.families.latent.LatentGAN.sample`.
        ema: See there.
    """

    model: Sampler
    batch_size: int
    seed: int
    class_counts: Tensor | None = None
    truncation: float = 1.0
    ema: bool = True

    def samples(self, n: int) -> Iterator[Tensor]:
        """This process's share of `n` samples, ``(≤ batch_size, C, H, W)`` in [-1, 1]; empty where none counts."""
        for start, labels in self._batches(n):
            images = self.model.sample(
                self.batch_size, labels=labels, seed=self._seed(start), truncation=self.truncation, ema=self.ema
            )
            yield images[: max(n - start, 0)]

    def paths(self, n: int) -> Iterator[tuple[Callable[[Tensor], Tensor], Tensor, Tensor, Tensor]]:
        """This process's share of `n` paths through latent space: the generator, both ends ``(N, D)``, places ``(N,)``.

        The model has to tell its `latent_dim`.
        """
        size = cast(Any, self.model).latent_dim
        for start, labels in self._batches(n):
            count = min(max(n - start, 0), self.batch_size)
            source = torch.Generator().manual_seed(self._seed(start))
            a, b = torch.randn(2, self.batch_size, size, generator=source)
            places = torch.rand(self.batch_size, generator=source)
            if count:
                yield self._generator(None if labels is None else labels[:count]), a[:count], b[:count], places[:count]

    def _generator(self, labels: Tensor | None) -> Callable[[Tensor], Tensor]:
        return lambda z: self.model.sample(len(z), labels=labels, z=z, truncation=self.truncation, ema=self.ema)

    def _seed(self, start: int) -> int:
        return (self.seed << 16) + start // self.batch_size  # torch's CPU generators heed 32 bits

    def _batches(self, n: int) -> Iterator[tuple[int, Tensor | None]]:
        """The number of each batch's first sample, and its labels."""
        rank, processes = (
            (distributed.get_rank(), distributed.get_world_size()) if distributed.is_initialized() else (0, 1)
        )
        stride = self.batch_size * processes
        planned = math.ceil(n / stride) * stride
        labels = None
        if self.class_counts is not None:
            n_real = int(self.class_counts.sum())
            places = torch.arange(planned) * n_real // n
            labels = torch.searchsorted(self.class_counts.cumsum(0), places.clamp(max=n_real - 1), right=True)
        for start in range(rank * self.batch_size, planned, stride):
            yield start, None if labels is None else labels[start : start + self.batch_size]
