"""What MNIST, FashionMNIST and CIFAR-10 share: torchvision reads them, and they are held in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from .base import DataError, ImageDataModule, require
from .in_memory import InMemory, resize


class TorchvisionSet(NamedTuple):
    """A set of torchvision's.

    Attributes:
        reader: torchvision's class.
        files: Its files below ``root``, for messages.
        channels: Channels of its images.
        classes: Names of its classes by label.
    """

    reader: type[Any]
    files: str
    channels: int
    classes: tuple[str, ...]


class TorchvisionDataModule(ImageDataModule):
    """Base of torchvision's ten-class sets, held in memory as uint8; the official test images are the validation set.

    Files that are there already are used without a network, even if ``download`` is true.

    Args:
        root: Folder that holds the set's own folder, or will hold it.
        image_size: Height and width of the images (pixels), resized bilinearly where the set's own differ.
        download: Whether to download missing files.
        batch_size: Images in a batch, in each process.
        num_workers: Processes that load data besides the main one.
        seed: Seed of the order of the training data.

    Raises:
        DataError: If an argument is out of range, or the files are missing or damaged and cannot be downloaded.
    """

    published: ClassVar[TorchvisionSet]

    def __init__(
        self,
        root: str = "data",
        *,
        image_size: int = 32,
        download: bool = True,
        batch_size: int = 64,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size=batch_size, num_workers=num_workers, seed=seed)
        require(image_size >= 1, f"image_size={image_size} must be at least 1.")
        self.root = root
        self.image_size = image_size
        self.download = download

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """``(C, image_size, image_size)``."""
        return (self.published.channels, self.image_size, self.image_size)

    @property
    def num_classes(self) -> int:
        """Ten classes."""
        return 10

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the ten classes."""
        return self.published.classes

    def prepare_data(self) -> None:
        """Download missing files, in one process."""
        if self.download:
            self._read(train=True, download=True)

    def load(self) -> tuple[InMemory, InMemory, InMemory]:
        """Read the official training and test images; the latter serve validation and test."""
        train, val = self._in_memory(train=True), self._in_memory(train=False)
        return train, val, val

    def _in_memory(self, train: bool) -> InMemory:
        dataset = self._read(train=train, download=False)
        images = _channels_first(torch.as_tensor(dataset.data))
        return InMemory(resize(images, self.image_size), torch.as_tensor(dataset.targets))

    def _read(self, train: bool, download: bool) -> Any:
        reader = self.published.reader
        try:
            return reader(self.root, train=train, download=download)
        except Exception as error:  # URLError, HTTPException, EOFError, UnpicklingError, AssertionError, …
            attempt = "could not be fetched or read" if download else "was not found or cannot be read"
            raise DataError(
                f"{reader.__name__} {attempt} ({' '.join(str(error).split())}): put {self.published.files} "
                f"into {Path(self.root).expanduser().absolute()}, or fetch them with download=True and prepare_data()."
            ) from error


def _channels_first(images: Tensor) -> Tensor:
    """Turn uint8 ``(N, H, W)`` or ``(N, H, W, C)`` into ``(N, C, H, W)``."""
    return images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2).contiguous()
