"""The order of the training data: a function of seed, epoch and position, so that a run can resume at any batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, SequentialSampler
from torch.utils.data.distributed import DistributedSampler

Batch = tuple[Tensor, ...]  # (samples, labels), or (samples,) where there are no labels


class ShuffleSampler(DistributedSampler[int]):
    """A shuffled order that depends on seed and epoch alone, so that a resumed run sees the data it would have seen.

    Several processes take turns at one order: their batches together are the batch of one process with their joint
    batch size. Lightning sets the epoch, as it does for every ``DistributedSampler``. A loop of your own calls
    ``set_epoch``; otherwise every pass has the same order.

    Args:
        size: Number of samples.
        seed: Seed of the order.
        num_replicas: Processes that share the data, with equally many samples each; the epoch leaves out the remainder.
        rank: Which of them this is.
    """

    def __init__(self, size: int, seed: int, num_replicas: int = 1, rank: int = 0) -> None:
        super().__init__(range(size), num_replicas=num_replicas, rank=rank, seed=seed, drop_last=True)  # type: ignore[arg-type]
        self.size = size

    def epoch_stream(self) -> torch.Generator:
        """Return the generator of all randomness of the epoch, the same in every process."""
        # Drawing the epoch's seed from a stream of the run's seed keeps (seed 0, epoch 1) apart from (seed 1, epoch 0).
        stream = torch.Generator().manual_seed(self.seed)
        epoch_seed = int(torch.randint(2**62, (self.epoch + 1,), generator=stream)[-1])
        return torch.Generator().manual_seed(epoch_seed)

    def __iter__(self) -> Iterator[int]:
        order = torch.randperm(self.size, generator=self.epoch_stream())
        yield from order[self.rank : self.total_size : self.num_replicas].tolist()


class FixedSampler(ShuffleSampler, SequentialSampler):
    """The data's own order in every epoch, for `overfit_batches`: the same few batches again, noise of theirs included.

    Lightning wants a `SequentialSampler` there.
    """

    def epoch_stream(self) -> torch.Generator:
        """Return the generator of all randomness of an epoch, the same in every epoch."""
        return torch.Generator().manual_seed(self.seed)

    def __iter__(self) -> Iterator[int]:
        yield from range(self.rank, self.total_size, self.num_replicas)


class SeededBatch(NamedTuple):
    """The indices of a batch, and the seed of what is random about its samples (crops, flips, pairs)."""

    seed: int
    indices: list[int]


class FullBatches(Sampler[SeededBatch]):
    """The full batches of an epoch, from number `first` on.

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

    def __iter__(self) -> Iterator[SeededBatch]:
        order = list(self.sampler)
        stream = self.sampler.epoch_stream()
        seeds = torch.randint(2**62, (len(self), self.sampler.num_replicas), generator=stream)[:, self.sampler.rank]
        for number in range(self.first, len(self)):
            start = number * self.batch_size
            yield SeededBatch(int(seeds[number]), order[start : start + self.batch_size])


class SeededDataset(Dataset[Batch]):
    """A dataset that seeds torch for each batch and afterwards restores the random state of the training.

    Args:
        dataset: Anything with ``__getitems__``.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitems__(self, batch: SeededBatch) -> Batch:
        state = torch.get_rng_state()
        # torch.manual_seed would seed the GPU's noise too, which belongs to the training
        torch.default_generator.manual_seed(batch.seed)
        try:
            return self.dataset.__getitems__(batch.indices)  # type: ignore[no-any-return]
        finally:
            torch.set_rng_state(state)


class TrainingLoader(DataLoader[Batch]):
    """A loader of shuffled full batches that saves its position and resumes there.

    Batch k of an epoch is the same wherever the pass began and whatever the number of worker processes. Lightning
    saves ``state_dict`` in its checkpoints and loads it when a run resumes.

    Args:
        dataset: What to load: anything with ``__getitems__``.
        sampler: The order.
        batch_size: Samples a batch.
        **options: See ``torch.utils.data.DataLoader``.
    """

    def __init__(self, dataset: Any, sampler: ShuffleSampler, batch_size: int, **options: Any) -> None:
        self._batches = FullBatches(sampler, batch_size)
        self._position = {"epoch": 0, "batches": 0}
        self._restored = False  # whether the next pass resumes at the position
        super().__init__(
            SeededDataset(dataset),
            batch_sampler=self._batches,  # type: ignore[arg-type]
            # its own source of the workers' seeds: a pass draws nothing from the training's noise
            generator=torch.Generator(),
            **options,
        )
        # torch forbids both; this one shows Lightning that the processes share the data already
        self.__dict__["sampler"] = sampler

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        epoch = self._batches.sampler.epoch
        first = self._position["batches"] if self._restored and self._position["epoch"] == epoch else 0
        self._restored = False
        self._batches.first = first
        for number, batch in enumerate(super().__iter__(), first + 1):
            self._position = {"epoch": epoch, "batches": number}
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Return the epoch and the number of its batches that have been loaded."""
        return dict(self._position)

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Let the next pass, if it is of that epoch, begin after those batches."""
        self._position = dict(state)
        self._restored = True
