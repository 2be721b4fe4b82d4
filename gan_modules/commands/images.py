"""The samples that a command works on: images of a folder or zip file, or a split of a datamodule."""

from __future__ import annotations

import copy
import os
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import IO, Any, Protocol

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from datamodules import DataError, GANDataModule
from datamodules.image_files import FORMATS, MODES, SUFFIXES, ImageFiles, list_images, pixels, read_image
from datamodules.packed import PackedImages
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

    Args:
        place: The folder or zip file.
        channels: 1 (grey), 3 (RGB) or 4 (RGBA); by default grey where the first image is, else RGB.

    Raises:
        DataError: If there is no such place, or no image in it; from `batches`, if one cannot be read.
        GANError: If image files have no such channels.
    """

    kind: Kind = "image"

    def __init__(self, place: str, channels: int | None = None) -> None:
        if channels is not None:
            check_channels(channels, "score")
        self.name = place
        self.split: str | None = None
        self.num_classes = 0
        self._place = os.path.expanduser(place)
        if os.path.isdir(self._place):
            self._names = list_images(self._place)
        elif zipfile.is_zipfile(self._place):
            try:
                with zipfile.ZipFile(self._place) as archive:
                    self._names = sorted(filter(_is_image, archive.namelist()))
            except zipfile.BadZipFile as error:
                raise DataError(f"'{place}' is a damaged zip file ({error}): pack it again.") from error
        else:
            raise DataError(f"'{place}' is neither a folder nor a zip file: pass one with images.")
        if not self._names:
            raise DataError(f"'{place}' holds no image: put some there ({' '.join(SUFFIXES)}).")
        self.channels = channels or self._channels()

    def __len__(self) -> int:
        return len(self._names)

    def batches(self, size: int, rows: Sequence[int] | None = None) -> Iterator[Sequence[Tensor]]:
        """See `SampleSet`; a batch ends early where the next image is of another height or width."""
        waiting: list[Tensor] = []
        with ExitStack() as stack:
            archive = None if os.path.isdir(self._place) else stack.enter_context(zipfile.ZipFile(self._place))
            for row in range(len(self)) if rows is None else rows:
                with _opened(self._place, self._names[row], archive) as file:
                    image = pixels(read_image(file, self.channels), self.channels)
                if waiting and (len(waiting) == size or waiting[0].shape != image.shape):
                    yield (torch.stack(waiting),)
                    waiting = []
                waiting.append(image)
        yield (torch.stack(waiting),)

    def _channels(self) -> int:
        with ExitStack() as stack:
            archive = None if os.path.isdir(self._place) else stack.enter_context(zipfile.ZipFile(self._place))
            file = stack.enter_context(_opened(self._place, self._names[0], archive))
            try:
                mode = Image.open(file, formats=FORMATS).mode
            except Exception as error:  # an archive's own errors, too
                raise DataError(f"Cannot read the image {self._names[0]} ({error}): repair or remove it.") from error
        return 1 if mode in ("1", "L", "F") or mode.startswith("I") else 3


def _or(numbers: Iterable[int]) -> str:
    *first, last = map(str, numbers)
    return f"{', '.join(first)} or {last}"


def _is_image(name: str) -> bool:
    hidden = any(part.startswith((".", "__MACOSX")) for part in name.split("/"))
    return name.lower().endswith(SUFFIXES) and not hidden


def _opened(folder: str, name: str, archive: zipfile.ZipFile | None) -> IO[bytes]:
    if archive is None:
        return open(os.path.join(folder, name), "rb")
    try:
        return archive.open(name)
    except (RuntimeError, NotImplementedError, zipfile.BadZipFile) as error:  # encrypted, of an unknown kind, damaged
        raise DataError(f"Cannot read {name} in {folder} ({error}): pack it again.") from error


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
