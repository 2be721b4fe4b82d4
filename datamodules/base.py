"""What every datamodule shares: a shape known beforehand, the loaders, and images in [-1, 1] on the device."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from .loading import Batch, ShuffleSampler, TrainingLoader

__all__ = ["Batch", "BatchedDataset", "DataError", "ImageDataModule", "ShuffleSampler", "TrainingLoader", "require"]


class DataError(ValueError):
    """Data or an argument that cannot be used, said in one sentence that names it and the remedy."""


def require(condition: bool, message: str) -> None:
    """Raise ``DataError(message)`` unless the condition holds."""
    if not condition:
        raise DataError(message)


class BatchedDataset(Dataset[Batch], ABC):
    """A map-style dataset that answers a whole batch of indices at once."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitems__(self, indices: list[int]) -> Batch:
        """Return the batch of these indices: images ``(N, C, H, W)`` or points ``(N, 2)``, then labels ``(N,)``."""

    def __getitem__(self, index: int) -> Batch:
        """Return one image or point and, where there is one, its label."""
        return tuple(tensor[0] for tensor in self.__getitems__([index]))


class ImageDataModule(LightningDataModule, ABC):
    """Base of all datamodules; a subclass says its ``image_shape``, its ``num_classes`` and how to ``load``.

    A batch is a tuple ``(images, labels)``, or ``(images,)`` where ``num_classes`` is 0. Images leave the loaders as
    uint8 ``(N, C, H, W)`` and become float32 in [-1, 1] on the device. Points are float32 ``(N, 2)`` throughout.

    Args:
        batch_size: Images that one move of a player sees, in each process.
        num_workers: Processes that load data besides the main one.
        seed: Seed of the order of the training data and of random splits.

    Raises:
        DataError: If an argument is out of range, or the training set is smaller than a batch.
    """

    def __init__(self, *, batch_size: int = 64, num_workers: int = 0, seed: int = 0) -> None:
        super().__init__()
        require(batch_size >= 1, f"batch_size={batch_size} must be at least 1.")
        require(num_workers >= 0, f"num_workers={num_workers} must not be negative.")
        require(0 <= seed < 2**64, f"seed={seed} must be from 0 to {2**64 - 1}.")  # torch takes no others
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.seed = seed

    @property
    @abstractmethod
    def image_shape(self) -> tuple[int, ...]:
        """Shape of one image, ``(C, H, W)``, or ``(2,)`` for points; known before the disk is touched."""

    @property
    @abstractmethod
    def num_classes(self) -> int:
        """Number of classes, 0 where there are no labels; known before the disk is touched."""

    @abstractmethod
    def load(self) -> tuple[BatchedDataset, BatchedDataset, BatchedDataset]:
        """Return the training, validation and test sets (validation again, where there is no test set)."""

    @cached_property
    def splits(self) -> tuple[BatchedDataset, BatchedDataset, BatchedDataset]:
        """The training, validation and test sets, loaded on first use."""
        return self.load()

    def setup(self, stage: str | None = None) -> None:
        """Load the data and, before a fit, refuse a training set that cannot fill one batch."""
        size = len(self.splits[0])
        if stage not in ("fit", None):
            return
        processes = self.trainer.world_size if self.trainer else 1
        share = size // processes
        if share < self.batch_size:
            among = f" for each of {processes} processes" if processes > 1 else ""
            raise DataError(
                f"{type(self).__name__} has {share} training samples{among}, fewer than batch_size={self.batch_size}: "
                "lower batch_size or bring more data."
            )

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return the shuffled loader of full batches, since BatchNorm and penalties need them full."""
        self.setup("fit")
        train_set = self.splits[0]
        if self.trainer and self.trainer.overfit_batches:  # type: ignore[attr-defined]
            return self._loader(train_set)  # the same few batches again and again, in order
        # None outside a fit, and where there is one process
        share = (self.trainer and self.trainer.distributed_sampler_kwargs) or {}
        return TrainingLoader(train_set, ShuffleSampler(len(train_set), self.seed, **share), **self._options())

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return the loader of the whole validation set, in a fixed order."""
        return self._loader(self.splits[1])

    def test_dataloader(self) -> DataLoader[Batch]:
        """Return the loader of the whole test set, in a fixed order."""
        return self._loader(self.splits[2])

    def predict_dataloader(self) -> DataLoader[Batch]:
        """Return the loader of the whole test set, in a fixed order."""
        return self.test_dataloader()

    def _loader(self, dataset: BatchedDataset) -> DataLoader[Batch]:
        # its own source of the workers' seeds: a validation draws nothing from the training's noise
        return DataLoader(dataset, generator=torch.Generator(), **self._options())

    def _options(self) -> dict[str, Any]:
        return {
            "batch_size": self.batch_size,
            "num_workers": self.num_workers,
            "persistent_workers": self.num_workers > 0,
            "pin_memory": torch.cuda.is_available(),
            "collate_fn": _as_is,
        }

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Turn uint8 images into float32 in [-1, 1]; floats and labels stay as they are."""
        return tuple(t.float().div_(127.5).sub_(1.0) if t.dtype == torch.uint8 else t for t in batch)


def _as_is(batch: Any) -> Any:
    """Collate nothing: a BatchedDataset hands out whole batches."""
    return batch
