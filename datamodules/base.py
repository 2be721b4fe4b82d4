"""What every datamodule shares: a spec known before loading, the loaders, and samples in [-1, 1] on the device."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from numbers import Number
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from .loading import Batch, FixedSampler, ShuffleSampler, TrainingLoader

__all__ = [
    "Batch",
    "BatchedDataset",
    "DataError",
    "GANDataModule",
    "ImageDataModule",
    "ShuffleSampler",
    "TrainingLoader",
    "collate_batch",
    "require",
]

SHAPES = ("image_shape", "point_shape", "audio_shape", "video_shape")  # one for each kind of sample


class DataError(ValueError):
    """Report data or an argument that cannot be used, in one sentence that names it and the remedy."""


def require(condition: bool, message: str) -> None:
    """Raise ``DataError(message)`` unless the condition holds."""
    if not condition:
        raise DataError(message)


class BatchedDataset(Dataset[Batch], ABC):
    """A map-style dataset that returns a whole batch for a list of indices."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitems__(self, indices: list[int]) -> Batch:
        """Return the batch of these indices: samples ``(N, …)`` and, where there are any, labels ``(N,)``."""

    def __getitem__(self, index: int) -> Batch:
        """Return one sample and, where there is one, its label."""
        if index >= len(self):
            raise IndexError(f"There is no sample {index} among {len(self)}.")  # which ends a loop over the set
        return tuple(tensor[0] for tensor in self.__getitems__([index]))


class GANDataModule(LightningDataModule, ABC):
    """Base of all datamodules: a subclass states the shape of its samples and how to ``load`` them.

    The shape is an attribute or a property, and its name states the kind of the samples: ``image_shape`` (C, H, W),
    ``point_shape`` (D,), ``audio_shape`` (C, T) or ``video_shape`` (C, T, H, W). A datamodule of pairs also has a
    ``target_shape``.

    A batch is a tuple of tensors: the samples, then the labels ``(N,)`` int64 or another condition, such as tokens
    ``(N, L)`` int64. On the device, uint8 becomes float32 in [-1, 1] and int16 float32 in [-1, 1), or float64 where
    the trainer's precision is "64-true"; all other tensors stay as they are.

    Args:
        batch_size: Samples in a batch, in each process.
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
    def num_classes(self) -> int:
        """Number of classes of the labels, 0 where there are no labels; known before the data are loaded."""
        return 0

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes by label; empty where there are no labels, or their classes have no names."""
        return ()

    @property
    def spec(self) -> dict[str, Any]:
        """What the data know about themselves, before anything is loaded; models are built from it.

        It holds the shape of a sample under its kind's name, ``num_classes``, ``target_shape`` where there is one, and
        every public class attribute of a subclass that is a number, a string, or a list, tuple or dictionary of them.
        A subclass adds what it computes by ``super().spec | {...}``.

        Raises:
            DataError: If the datamodule does not state exactly one of the four shapes.
        """
        shapes = {name: tuple(getattr(self, name)) for name in SHAPES if getattr(self, name, None) is not None}
        if len(shapes) != 1:
            raise DataError(
                f"{type(self).__name__} states {' and '.join(shapes) or 'no shape of a sample'}: give it exactly one "
                f"of the attributes {', '.join(SHAPES)}."
            )
        declared = [vars(cls) for cls in reversed(type(self).__mro__) if cls not in GANDataModule.__mro__]
        names = [name for attributes in declared for name, value in attributes.items() if _is_plain(value)]
        facts = {name: getattr(self, name) for name in names if not name.startswith("_") and name not in SHAPES}
        if (target_shape := getattr(self, "target_shape", None)) is not None:
            facts["target_shape"] = tuple(target_shape)
        return shapes | facts | {"num_classes": self.num_classes}

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
        if share >= self.batch_size:
            return
        name, among = type(self).__name__, f" for each of {processes} processes" if processes > 1 else ""
        if not size:
            held_out = len(self.splits[1])
            raise DataError(
                f"{name} has no training sample: all that there is, {held_out}, is held out to validate; bring more "
                f"data."
            )
        if not share:
            raise DataError(
                f"{name} has {size} training samples for {processes} processes: use fewer, or bring more data."
            )
        raise DataError(
            f"{name} has {share} training sample{'s' * (share > 1)}{among}, fewer than batch_size={self.batch_size}: "
            f"lower batch_size to {share} or bring more data."
        )

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return the shuffled loader of full batches, since BatchNorm and penalties need them full."""
        self.setup("fit")
        train_set = self.splits[0]
        # None outside a fit, and where there is one process
        share = (self.trainer and self.trainer.distributed_sampler_kwargs) or {}
        overfits = self.trainer and self.trainer.overfit_batches  # type: ignore[attr-defined]
        order = (FixedSampler if overfits else ShuffleSampler)(len(train_set), self.seed, **share)
        return TrainingLoader(train_set, order, **self.loader_options())

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
        return DataLoader(dataset, generator=torch.Generator(), **self.loader_options())

    def loader_options(self) -> dict[str, Any]:
        """Return the arguments that every loader of the data is built with."""
        return {
            "batch_size": self.batch_size,
            "num_workers": self.num_workers,
            "persistent_workers": self.num_workers > 0,
            "pin_memory": torch.cuda.is_available(),
            "collate_fn": collate_batch,
        }

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Scale uint8 and int16 to floats in [-1, 1]; floats and other integers (labels, tokens) stay as they are.

        The floats are those of the trainer's precision: float64 where it is "64-true", else float32.
        """
        dtype = torch.float64 if self.trainer and self.trainer.precision == "64-true" else torch.float32
        return tuple(_scale(tensor, dtype) for tensor in batch)


class ImageDataModule(GANDataModule, ABC):
    """Base of the datamodules of images, which are uint8 ``(N, C, H, W)`` until they are on the device."""

    @property
    @abstractmethod
    def image_shape(self) -> tuple[int, int, int]:
        """Shape of one image, ``(C, H, W)``; known before the disk is touched."""


def collate_batch(batch: Any) -> Any:
    """Return the batch itself, since a BatchedDataset returns whole batches."""
    return batch


def _scale(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    if tensor.dtype == torch.uint8:  # pixels
        return tensor.to(dtype).div_(127.5).sub_(1.0)
    if tensor.dtype == torch.int16:  # audio
        return tensor.to(dtype).div_(32768)
    return tensor


def _is_plain(value: Any) -> bool:
    """Whether a value is a number, a string, or a collection of them; a named tuple is more than its values."""
    if type(value) is dict:
        return all(map(_is_plain, [*value, *value.values()]))
    if type(value) in (list, tuple):
        return all(map(_is_plain, value))
    return isinstance(value, Number | str)
