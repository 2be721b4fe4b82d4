"""Sets larger than a disk: shards in a folder or an object store, which litdata reads when they are needed."""

from __future__ import annotations

import copy
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from .base import Batch, BatchedDataset, DataError, GANDataModule, ImageDataModule, require

SPLITS = ("train", "val", "test")
FORMATS = ("tensor", "no_header_tensor")  # write_shards leaves these; some of litdata's others execute what they read


class StreamingDataModule(ImageDataModule):
    """Images from shards that ``write_shards`` wrote, in a folder or an object store (``s3://…``, ``gs://…``).

    Shards of a store are downloaded while earlier ones are in use, and kept in a cache until it is full. Each process
    reads shards of its own. The training order is shuffled by shards and within them, and depends on
    ``seed``, the epoch, and the numbers of processes and workers: with the same ones, a run resumes at the very
    next batch.

    Args:
        folder: The folder or address of the shards.
        image_size: Side, or height and width, of the images (pixels), as they were written.
        channels: 1 (grey), 3 (RGB) or 4 (RGBA), as they were written.
        num_classes: Classes of the labels, as they were written; 0 to leave labels out.
        cache_folder: Folder for the shards of a store; by default litdata's own.
        cache_size: Size of the cache, such as "100GB"; by default three quarters of the free space.
        batch_size: Images in a batch, in each process.
        num_workers: Processes that load data besides the main one.
        seed: Seed of the order of the training data.

    Raises:
        DataError: If an argument is out of range, litdata is not installed, there are no shards, or they hold images
            of another shape, no labels, or anything but tensors.

    Example:
        >>> StreamingDataModule("s3://bucket/faces", image_size=256).image_shape
        (3, 256, 256)
    """

    def __init__(
        self,
        folder: str,
        *,
        image_size: int | tuple[int, int] = 64,
        channels: int = 3,
        num_classes: int = 0,
        cache_folder: str | None = None,
        cache_size: str | None = None,
        batch_size: int = 64,
        num_workers: int = 4,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size=batch_size, num_workers=num_workers, seed=seed)
        height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
        require(min(height, width) >= 1, f"image_size={image_size} must be at least 1.")
        require(channels in (1, 3, 4), f"channels={channels} must be 1 (grey), 3 (RGB) or 4 (RGBA).")
        require(num_classes >= 0, f"num_classes={num_classes} must not be negative.")
        self.folder = os.path.expanduser(folder).rstrip("/")
        self.image_size = (height, width)
        self.channels = channels
        self.cache_folder = cache_folder
        self.cache_size = cache_size
        self._num_classes = num_classes

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """``(channels, height, width)``."""
        return (self.channels, *self.image_size)

    @property
    def num_classes(self) -> int:
        """Number of classes, as given."""
        return self._num_classes

    def load(self) -> tuple[Shards, Shards, Shards]:
        """Open the shards; where there is no test set, the validation set is the test set too."""
        train, val = self._open("train"), self._open("val")
        try:
            return train, val, self._open("test")
        except NoSplitError:
            return train, val, val

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return the shuffled loader of full batches, since BatchNorm and penalties need them full."""
        self.setup("fit")
        shuffle = self.trainer is None or not self.trainer.overfit_batches  # type: ignore[attr-defined]
        loader = ShardLoader(lambda: self._stream(self.splits[0], shuffle=shuffle, drop_last=True))
        return cast(DataLoader[Batch], loader)

    def _loader(self, dataset: BatchedDataset) -> DataLoader[Batch]:
        return cast(DataLoader[Batch], self._stream(dataset, shuffle=False))

    def _stream(self, dataset: Any, **options: Any) -> Any:
        options = self.loader_options() | options
        options["collate_fn"] = dataset.collate
        options["persistent_workers"] = False  # persistent workers would not see the next epoch
        # a generator of its own for the workers' seeds: a pass draws nothing from the training's noise
        return _litdata().StreamingDataLoader(copy.copy(dataset.stream), generator=torch.Generator(), **options)

    def _open(self, split: str) -> Shards:
        litdata = _litdata()
        try:
            dataset = litdata.StreamingDataset(
                f"{self.folder}/{split}",
                self.cache_folder and f"{self.cache_folder}/{split}",
                shuffle=split == "train",
                seed=self.seed,
                max_cache_size=self.cache_size,
            )
        except Exception as error:  # each store fails in its own way
            kind = DataError if os.path.isdir(f"{self.folder}/{split}") else NoSplitError
            raise kind(
                f"There are no shards in '{self.folder}/{split}' ({error}): write them by "
                f"datamodules.streaming.write_shards."
            ) from error
        _check_index(os.path.join(dataset.input_dir.path, "index.json"), f"{self.folder}/{split}")
        try:
            image, *label = dataset[0]
        except Exception as error:
            raise DataError(f"The shards in '{self.folder}/{split}' cannot be read: {error}") from error
        require(
            tuple(image.shape) == self.image_shape,
            f"The shards in '{self.folder}' hold images of {tuple(image.shape)}, not {self.image_shape}: pass their "
            f"image_size and channels.",
        )
        require(
            bool(label) or not self.num_classes,
            f"The shards in '{self.folder}' hold no labels: pass num_classes=0, or write them from data with classes.",
        )
        return Shards(dataset, _labelled if self.num_classes else _unlabelled)


class NoSplitError(DataError):
    """Report that there are no shards of a split."""


def _check_index(path: str, folder: str) -> None:
    """Require that an index names only tensors and only files of its own folder, since litdata trusts it."""
    try:
        with open(path, encoding="utf-8") as file:
            index = json.load(file)
        formats = [str(kind).partition(":")[0] for kind in index["config"]["data_format"]]
        names = [str(chunk["filename"]) for chunk in index["chunks"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"The index of the shards in '{folder}' cannot be read ({error!r}): write them again."
        ) from error
    strange = [kind for kind in formats if kind not in FORMATS]
    strange += [name for name in names if os.path.basename(name) != name or name in ("", ".", "..")]
    require(
        not strange,
        f"The index of the shards in '{folder}' names {', '.join(strange[:3])}: write them again by write_shards.",
    )


class Shards(BatchedDataset):
    """A set in shards with access to any row; the loaders stream it instead.

    Args:
        stream: litdata's dataset.
        collate: Makes a batch of samples.
    """

    def __init__(self, stream: Any, collate: Callable[[list[tuple[Tensor, ...]]], Batch]) -> None:
        self.stream = stream
        self.collate = collate

    def __len__(self) -> int:
        return len(self.stream)

    def __getitems__(self, indices: list[int]) -> Batch:
        """Return the batch of these rows as they were written."""
        return self.collate([self.stream[index] for index in indices])


class ShardLoader:
    """A loader of shards whose order depends on the epoch and that can resume at any batch; see ``TrainingLoader``.

    litdata's own loader counts its passes and keeps a loaded position, so each pass takes a new one.

    Args:
        new: Returns a new loader of litdata's.
    """

    def __init__(self, new: Callable[[], Any]) -> None:
        self._new = new
        self._loader = new()  # of the latest pass
        self.sampler = self  # Lightning calls set_epoch of the sampler
        self.epoch = 0
        self._position: dict[str, Any] | None = None  # where the next pass resumes

    def __len__(self) -> int:
        return len(self._loader)

    def set_epoch(self, epoch: int) -> None:
        """Let the next pass be that of this epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Batch]:
        position, self._position = self._position, None
        self._loader = loader = self._new()
        loader.current_epoch = self.epoch
        if position is not None and position["epoch"] == self.epoch:
            loader.load_state_dict(position["loader"])
        yield from loader

    def state_dict(self) -> dict[str, Any]:
        """Return the epoch, and litdata's position in it."""
        return {"epoch": self.epoch, "loader": self._loader.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Let the next pass, if it is of that epoch, begin at that position."""
        self._position = state


def write_shards(data: GANDataModule, folder: str, *, num_workers: int = 4, shard_size: str = "64MB") -> None:
    """Write the images of a datamodule to shards for ``StreamingDataModule``.

    Images are stored as uint8 ``(C, H, W)``; random crops and flips are drawn once.

    Args:
        data: The datamodule of the images.
        folder: Folder or address (``s3://…``) that gets folders ``train``, ``val`` and, where there is one, ``test``.
        num_workers: Processes that read the images.
        shard_size: Bytes of a shard, such as "64MB".

    Raises:
        DataError: If litdata is not installed, there are shards already, or they cannot be written.
    """
    litdata = _litdata()
    folder = os.path.expanduser(folder).rstrip("/")
    data.prepare_data()
    splits = data.splits[:2] if data.splits[2] is data.splits[1] else data.splits
    folders = [f"{folder}/{name}" for name, _ in zip(SPLITS, splits, strict=False)]
    for target in folders:
        require(not os.path.isdir(target) or not os.listdir(target), f"'{target}' is not empty: choose another folder.")
    for target, dataset in zip(folders, splits, strict=True):
        try:
            litdata.optimize(
                dataset.__getitem__,
                list(range(len(dataset))),
                target,
                chunk_bytes=shard_size,
                num_workers=num_workers,
                start_method=multiprocessing.get_start_method(),  # litdata would change it for the whole process
                verbose=False,
            )
        except RuntimeError as error:  # also raised for a store that is not empty
            raise DataError(f"Shards cannot be written to '{target}': {error}") from error


def _labelled(samples: list[tuple[Tensor, ...]]) -> Batch:
    images, labels = zip(*samples, strict=True)
    return torch.stack(images), torch.stack(labels)


def _unlabelled(samples: list[tuple[Tensor, ...]]) -> Batch:
    return (torch.stack([image for image, *_ in samples]),)


def _litdata() -> Any:
    try:
        import litdata
    except ImportError as error:
        raise DataError("Streaming needs litdata: pip install 'gan-modules[streaming]'.") from error
    return litdata
