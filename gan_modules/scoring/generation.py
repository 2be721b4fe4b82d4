"""The stream of samples that a model is scored by."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed

from gan_modules.families.capabilities import Samples

SEEDS = 2**16  # how many there are


def takes_captions(model: Samples) -> bool:
    """Return whether samples are made from captions."""
    return bool(getattr(model, "vocab_size", 0)) and getattr(model, "generator_is_conditional", True)


def sampled_classes(model: Samples) -> int:
    """Return the number of classes that samples are made of; 0 where only the discriminator gets the labels."""
    return model.num_classes if getattr(model, "generator_is_conditional", True) else 0


@dataclass
class SampleStream:
    """Samples of a model, batch by batch; the batches are dealt to the processes in turn.

    The samples do not depend on the number of processes. Batch i has a seed of its own, which no other `seed` gives to
    a batch below 65,536. Every process makes equally many batches, even if the last ones are not counted, since a
    sharded generator needs all processes.

    Attributes:
        model: Makes the samples.
        batch_size: Samples at a time.
        seed: Seed of the samples, below `SEEDS`.
        condition_counts: Number of reals of each class or caption, ``(K,)``. The samples' conditions are those of the
            reals, sorted, and evenly thinned out or repeated. `None` for a model without conditions.
        captions: The captions that are counted, ``(K, L)``; `None` where classes are.
        truncation: See `gan_modules.families.latent.LatentGAN.sample`.
        ema: See there.
    """

    model: Samples
    batch_size: int
    seed: int
    condition_counts: Tensor | None = None
    captions: Tensor | None = None
    truncation: float = 1.0
    ema: bool = True

    def samples(self, n: int) -> Iterator[Tensor]:
        """Yield this process's share of `n` samples, ``(≤ batch_size, *sample_shape)``; empty ones are not counted."""
        for start, conditions in self.batches(n):
            samples = self.model.sample(
                self.batch_size,
                **self._arguments(conditions),
                seed=self._seed(start),
                truncation=self.truncation,
                ema=self.ema,
            )
            yield samples[: max(n - start, 0)]

    def paths(self, n: int) -> Iterator[tuple[Callable[[Tensor], Tensor], Tensor, Tensor, Tensor]]:
        """Yield this process's share of `n` paths: the generator, both ends ``(N, …)``, places ``(N,)`` in [0, 1]."""
        for start, conditions in self.batches(n):
            count = min(max(n - start, 0), self.batch_size)
            latents = self.model.draw_latents(2 * self.batch_size, self._seed(start))
            a, b = latents[: self.batch_size], latents[self.batch_size :]
            source = torch.Generator().manual_seed(self._seed(start))
            torch.randn(latents.shape, generator=source)  # the places follow the latents in the seed's random numbers
            places = torch.rand(self.batch_size, generator=source)
            if count:
                chosen = None if conditions is None else conditions[:count]
                yield self._generator(chosen), a[:count], b[:count], places[:count]

    def batches(self, n: int) -> Iterator[tuple[int, Tensor | None]]:
        """Yield for each of this process's batches the number of its first sample and the indices of its conditions."""
        rank, processes = (
            (distributed.get_rank(), distributed.get_world_size()) if distributed.is_initialized() else (0, 1)
        )
        stride = self.batch_size * processes
        planned = math.ceil(n / stride) * stride
        conditions = None
        if self.condition_counts is not None:
            n_real = int(self.condition_counts.sum())
            places = torch.arange(planned) * n_real // n
            conditions = torch.searchsorted(self.condition_counts.cumsum(0), places.clamp(max=n_real - 1), right=True)
        for start in range(rank * self.batch_size, planned, stride):
            yield start, None if conditions is None else conditions[start : start + self.batch_size]

    def _generator(self, conditions: Tensor | None) -> Callable[[Tensor], Tensor]:
        arguments = self._arguments(conditions)
        return lambda z: self.model.sample(len(z), **arguments, z=z, truncation=self.truncation, ema=self.ema)

    def _arguments(self, conditions: Tensor | None) -> dict[str, Any]:
        if conditions is None:
            return {}
        return {"labels": conditions} if self.captions is None else {"captions": self.captions[conditions]}

    def _seed(self, start: int) -> int:
        return (self.seed << 16) + start // self.batch_size  # torch's CPU generators use 32 bits
