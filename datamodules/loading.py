"""The order of the training data: a pure function of seed, epoch and place, so that a run can go on from any batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler
from torch.utils.data.distributed import DistributedSampler

Batch = tuple[Tensor, ...]  # (images, labels), or (images,) where there are no labels


class ShuffleSampler(DistributedSampler[int]):
    """A shuffled order that depends on seed and epoch alone, so a resumed run meets the data it would have met.

    Several processes take from one order in turn: a batch of each together is one process's batch of their joint
    size. Lightning tells the epoch, as it does for every ``DistributedSampler``. A loop of your own calls
    ``set_epoch``, or sees the same order in every pass.

    Args:
        size: Number of samples.
        seed: Seed of the order.
        num_replicas: Processes that share the data, each as many samples; the last few that do not divide are left
            out of the epoch.
        rank: Which of them this is.
    """

    def __init__(self, size: int, seed: int, num_replicas: int = 1, rank: int = 0) -> None:
        super().__init__(range(size), num_replicas=num_replicas, rank=rank, seed=seed, drop_last=True)  # type: ignore[arg-type]
        self.size = size

    def epoch_stream(self) -> torch.Generator:
        """The source of all randomness of the epoch, the same in every process."""
        # Drawing the epoch's seed from a stream of the run's seed keeps (seed 0, epoch 1) apart from (seed 1, epoch 0).
        stream = torch.Generator().manual_seed(self.seed)
        epoch_seed = int(torch.randint(2**62, (self.epoch + 1,), generator=stream)[-1])
        return torch.Generator().manual_seed(epoch_seed)

    def __iter__(self) -> Iterator[int]:
        order = torch.randperm(self.size, generator=self.epoch_stream())
        yield from order[self.rank : self.total_size : self.num_replicas].tolist()


class Draw(NamedTuple):
    """A batch to be fetched: its samples, and the seed of what is random about them (crops, flips, pairs)."""

    seed: int
    indices: list[int]


class FullBatches(Sampler[Draw]):
    """The epoch's full batches from number `first` on.

    Args:
        sampler: The order.
        batch_size: Samples a batch; an incomplete last batch is left out.
    """

    def __init__(self, sampler: ShuffleSampler, batch_size: int) -> None:
        self.sampler = sampler
        self.batch_size = batch_size
        self.first = 0

    def __len__(self) -> int:
        return len(self.sampler) // self.batch_size

    def __iter__(self) -> Iterator[Draw]:
        order = list(self.sampler)
        stream = self.sampler.epoch_stream()
        seeds = torch.randint(2**62, (len(self), self.sampler.num_replicas), generator=stream)[:, self.sampler.rank]
        for number in range(self.first, len(self)):
            start = number * self.batch_size
            yield Draw(int(seeds[number]), order[start : start + self.batch_size])


class SeededDataset(Dataset[Batch]):
    """A dataset whose torch randomness is each batch's own, and leaves that of the training alone.

    Args:
        dataset: Anything with ``__getitems__``.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitems__(self, draw: Draw) -> Batch:
        state = torch.get_rng_state()
        # torch.manual_seed would seed the GPU's noise too, which belongs to the training
        torch.default_generator.manual_seed(draw.seed)
        try:
            return self.dataset.__getitems__(draw.indices)  # type: ignore[no-any-return]
        finally:
            torch.set_rng_state(state)


class TrainingLoader(DataLoader[Batch]):
    """A loader of shuffled full batches that knows its place, and goes on from there.

    Batch k of an epoch is the same however the pass began and whatever the number of worker processes. Lightning
    saves ``state_dict`` in its checkpoints, and hands it back when a run goes on.

    Args:
        dataset: What to load: anything with ``__getitems__``.
        sampler: The order.
        batch_size: Samples a batch.
        **options: See ``torch.utils.data.DataLoader``.
    """

    def __init__(self, dataset: Any, sampler: ShuffleSampler, batch_size: int, **options: Any) -> None:
        self._batches = FullBatches(sampler, batch_size)
        self._place = {"epoch": 0, "batches": 0}
        self._restored = False  # whether the place is one to go on from
        super().__init__(
            SeededDataset(dataset),
            batch_sampler=self._batches,  # type: ignore[arg-type]
            # its own source of the workers' seeds: a pass draws nothing from the training's noise
            generator=torch.Generator(),
            **options,
        )
        # torch forbids both; by this one Lightning sees that the data is shared between processes already
        self.__dict__["sampler"] = sampler

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        epoch = self._batches.sampler.epoch
        first = self._place["batches"] if self._restored and self._place["epoch"] == epoch else 0
        self._restored = False
        self._batches.first = first
        for number, batch in enumerate(super().__iter__(), first + 1):
            self._place = {"epoch": epoch, "batches": number}
            yield batch

    def state_dict(self) -> dict[str, int]:
        """The epoch, and how many of its batches have been handed out."""
        return dict(self._place)

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Let the next pass, if it is of that epoch, begin after those batches."""
        self._place = dict(state)
        self._restored = True
