"""The samples that a command works on: images of a folder or zip file, or a split of a datamodule."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, Protocol

import torch
from PIL import Image, ImageChops
from torch import Tensor
from torch.utils.data import DataLoader

from datamodules import GANDataModule
from datamodules.image_files import MODES, ImageFiles, pixels, read_image
from datamodules.packed import PackedImages
from datamodules.places import Place
from gan_modules.errors import GANError
from gan_modules.families.data_spec import Kind, data_spec, sample_kind

SPLITS = ("train", "val", "test")


def check_channels(channels: int, asker: str) -> None:
    """Refuse images of which there are no files, before any is read or made.

    Args:
        channels: Channels of the images.
        asker: Who works on files, for the message.

    Raises:
        GANError: If they are neither grey nor RGB nor RGBA.
    """
    if channels not in MODES:
        raise GANError(
            f"{asker} works on image files, which have {_or(MODES)} channels, and this model's images have {channels}: "
            f"pass tensors to the function of that name in Python."
        )


class SampleSet(Protocol):
    """Samples that can be read any number of times.

    Attributes:
        kind: Kind of the samples.
        name: Their name in a record.
        split: Their split; `None` where there are none.
        num_classes: Number of classes; 0 where there are no labels.
    """

    kind: Kind
    name: str
    split: str | None
    num_classes: int

    def __len__(self) -> int: ...

    def batches(self, size: int, rows: Sequence[int] | None = None) -> Iterator[Sequence[Tensor]]:
        """Yield ``(samples,)`` or ``(samples, labels)``, of all samples in order or of the given rows; images uint8."""


class ImagePlace:
    """The images of a folder or a zip file: none is resized, and nothing is unpacked to the disk.

    They have labels where the place has a ``dataset.json`` with some, as NVIDIA's dataset_tool writes it.

    Args:
        place: The folder or zip file.
        channels: 1 (grey), 3 (RGB) or 4 (RGBA); by default RGB where any image has colour, else grey.

    Raises:
        DataError: If there is no such place, or no image in it; from `channels` and `batches`, if one cannot be read.
        GANError: If image files have no such channels.
    """

    kind: Kind = "image"

    def __init__(self, place: str, channels: int | None = None) -> None:
        if channels is not None:
            check_channels(channels, "score")
        self.name = place
        self.split: str | None = None
        self._place = Place(place)
        self._labels = self._place.labels()
        self.num_classes = 1 + max(self._labels.values(), default=-1) if self._labels else 0
        if channels is not None:
            self.channels = channels

    def __len__(self) -> int:
        return len(self._place.names)

    @cached_property
    def channels(self) -> int:
        """Channels of the images."""
        return 1 if self.coloured is None else 3

    @cached_property
    def coloured(self) -> str | None:
        """The first image that has colour, whatever its file could hold; `None` where all are grey."""
        return next(filter(self._has_colour, self._place.names), None)

    def batches(self, size: int, rows: Sequence[int] | None = None) -> Iterator[Sequence[Tensor]]:
        """See `SampleSet`; a batch ends early where the next image is of another height or width."""
        waiting: list[Tensor] = []
        names: list[str] = []
        for row in range(len(self)) if rows is None else rows:
            name = self._place.names[row]
            image = pixels(self._read(name, self.channels), self.channels)
            if waiting and (len(waiting) == size or waiting[0].shape != image.shape):
                yield self._batch(waiting, names)
                waiting, names = [], []
            waiting.append(image)
            names.append(name)
        yield self._batch(waiting, names)

    def _batch(self, images: list[Tensor], names: list[str]) -> Sequence[Tensor]:
        batch = torch.stack(images)
        return (batch, torch.tensor([self._labels[name] for name in names])) if self._labels else (batch,)

    def _read(self, name: str, channels: int) -> Image.Image:
        with self._place.open(name) as file:
            return read_image(file, channels)

    def _has_colour(self, name: str) -> bool:
        red, green, blue = self._read(name, 3).split()
        return any(ImageChops.difference(red, other).getbbox() is not None for other in (green, blue))


def _or(numbers: Iterable[int]) -> str:
    *first, last = map(str, numbers)
    return f"{', '.join(first)} or {last}"


class DataPart:
    """A split of a datamodule, each sample once, images neither mirrored nor cropped at random.

    Args:
        data: The datamodule.
        split: ``train``, ``val`` or ``test``.
    """

    def __init__(self, data: GANDataModule, split: str) -> None:
        self.kind, _ = sample_kind(data_spec(data))
        self.name = type(data).__name__
        self.split: str | None = split
        self.num_classes = data.num_classes
        data.prepare_data()
        data.setup("validate")
        self._dataset = data.splits[SPLITS.index(split)]
        self._num_workers = data.num_workers
        if isinstance(self._dataset, ImageFiles | PackedImages):
            self._dataset = copy.copy(self._dataset)
            self._dataset.flip = False
        if isinstance(self._dataset, ImageFiles):
            self._dataset.crop = "center" if self._dataset.crop == "random" else self._dataset.crop

    def __len__(self) -> int:
        return len(self._dataset)

    def batches(self, size: int, rows: Sequence[int] | None = None) -> Iterator[Sequence[Tensor]]:
        """See `SampleSet`."""
        sampler = range(len(self)) if rows is None else rows
        options: dict[str, Any] = {"num_workers": self._num_workers, "collate_fn": _unchanged}
        yield from DataLoader(self._dataset, size, sampler=sampler, **options)


def _unchanged(batch: Any) -> Any:
    return batch
