"""What the datamodules of two domains share: the checks of their arguments, and the published jitter."""

from __future__ import annotations

import os
from abc import ABC
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from PIL import Image, ImageOps

from .base import require
from .image_files import MODES
from .in_memory import require_fraction
from .published_datasets import Archive, fetch
from .unreadable import FilesDataModule

Size = int | tuple[int, int]  # pixels: a square's side, or height and width
PUBLISHED = 286 / 256  # sizes before and after the random crop (arXiv:1611.07004, Sec. 6.2)


class Jitter:
    """Resize, crop and mirror corresponding images, all of them alike.

    Args:
        size: Height and width (pixels), reached by stretching.
        load_size: Height and width before a random crop of `size`; by default no crop.
        flip: Whether to mirror with probability 1/2.
    """

    def __init__(self, size: tuple[int, int], load_size: tuple[int, int] | None = None, flip: bool = False) -> None:
        self.size = size
        self.load_size = load_size or size
        self.flip = flip

    def __call__(self, images: Sequence[Image.Image]) -> list[Image.Image]:
        """Return the images at ``size``, resized bicubically and antialiased."""
        (height, width), (load_height, load_width) = self.size, self.load_size
        top, left = (int(torch.randint(slack + 1, ())) for slack in (load_height - height, load_width - width))
        window = (left, top, left + width, top + height)
        mirrored = self.flip and bool(torch.rand(()) < 0.5)
        cropped = [image.resize((load_width, load_height), Image.Resampling.BICUBIC).crop(window) for image in images]
        return [ImageOps.mirror(image) for image in cropped] if mirrored else cropped


def as_shape(channels: int, size: Size) -> tuple[int, int, int]:
    """Return ``(C, H, W)``, or raise DataError if a number is out of range."""
    height, width = (size, size) if isinstance(size, int) else size
    require(min(height, width) >= 1, f"image_size={size} must be at least 1.")
    require(channels in MODES, f"channels={channels} must be 1 (grey), 3 (RGB) or 4 (RGBA).")
    return channels, height, width


def resolve_load_size(size: Size, load_size: Size | None) -> tuple[int, int]:
    """Return height and width before the crop: those given, or by default 286/256 of `size`."""
    _, height, width = as_shape(1, size)
    if load_size is None:
        return round(height * PUBLISHED), round(width * PUBLISHED)
    _, load_height, load_width = as_shape(1, load_size)
    require(
        load_height >= height and load_width >= width,
        f"load_size={load_size} must be at least image_size={size}, which is cropped from it.",
    )
    return load_height, load_width


class TwoDomainDataModule(FilesDataModule, ABC):
    """Base of the datamodules whose batches are ``(a, b)``, images of domains A (the source) and B (the target).

    Args:
        folder: The folder of the images.
        dataset: One of the published `sets` instead of `folder`'s own images; downloaded to ``folder/dataset``.
        image_shape: ``(C, H, W)`` of the source.
        target_shape: ``(C, H, W)`` of the target.
        horizontal_flip: Whether to mirror every second training image, at random.
        skip_unreadable: Whether to replace an image that cannot be read by the next one that can.
        val_fraction: Share held out where the set comes without a split.
        **loading: See `GANDataModule`.

    Raises:
        DataError: If an argument is out of range.
    """

    sets: ClassVar[Mapping[str, Archive]]

    def __init__(
        self,
        folder: str,
        dataset: str | None,
        image_shape: tuple[int, int, int],
        target_shape: tuple[int, int, int],
        *,
        horizontal_flip: bool,
        skip_unreadable: bool,
        val_fraction: float,
        **loading: int,
    ) -> None:
        super().__init__(**loading)
        require(
            dataset is None or dataset in self.sets,
            f"{type(self).__name__} has no set dataset={dataset!r}: choose one of {', '.join(self.sets)}.",
        )
        require_fraction(val_fraction)
        self.folder = os.path.expanduser(folder)
        self.dataset = dataset
        self.horizontal_flip = horizontal_flip
        self.skip_unreadable = skip_unreadable
        self.val_fraction = val_fraction
        self._image_shape = image_shape
        self._target_shape = target_shape

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """``(C, H, W)`` of domain A, the source."""
        return self._image_shape

    @property
    def target_shape(self) -> tuple[int, int, int]:
        """``(C, H, W)`` of domain B, the target."""
        return self._target_shape

    @property
    def root(self) -> str:
        """The folder of the images: ``folder``, or ``folder/dataset`` for a published set."""
        return self.folder if self.dataset is None else os.path.join(self.folder, self.dataset)

    def prepare_data(self) -> None:
        """Download a published set, in one process, unless it is there."""
        if self.dataset is not None:
            fetch(self.sets[self.dataset], self.root)
