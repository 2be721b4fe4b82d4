"""Skip files that cannot be read, and count them."""

from __future__ import annotations

import warnings
from abc import ABC
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from .base import DataError, ImageDataModule
from .printed import first_names, say

T = TypeVar("T")


class SkipUnreadable:
    """Read images, and where enabled, replace one that cannot be read by the next one that can.

    Args:
        paths: The images' files; of pairs, the first.
        enabled: Whether to replace images; otherwise the first that cannot be read is an error.

    Attributes:
        unreadable: Which files no worker could read so far, ``(len(paths),)`` bool.
    """

    def __init__(self, paths: Sequence[str], enabled: bool) -> None:
        self.paths = paths
        self.enabled = enabled
        self.unreadable = torch.zeros(len(paths), dtype=torch.bool).share_memory_()  # type: ignore[no-untyped-call]

    def read(self, index: int, read: Callable[[int], T]) -> tuple[T, int]:
        """Return what `read` returns for the index, or for the next one that can be read, and that index.

        Raises:
            DataError: If the image cannot be read and replacing is not enabled, or no image can be read.
        """
        for candidate in [*range(index, len(self.paths)), *range(index)]:
            if self.unreadable[candidate]:
                continue
            try:
                return read(candidate), candidate
            except DataError as error:
                if not self.enabled:
                    raise
                self.unreadable[candidate] = True
                warnings.warn(f"{error} The next image replaces it.", stacklevel=2)
        raise DataError("No image of the set can be read: is its disk still there?")

    @property
    def skipped(self) -> list[str]:
        """The files that could not be read so far."""
        return [path for path, unreadable in zip(self.paths, self.unreadable.tolist(), strict=True) if unreadable]


class FilesDataModule(ImageDataModule, ABC):
    """Base of the datamodules of files, whose datasets list the files they have ``skipped``."""

    @property
    def skipped(self) -> list[str]:
        """The files that this process could not read so far; of pairs, the first file."""
        return sorted({path for split in self.__dict__.get("splits", ()) for path in split.skipped})

    def teardown(self, stage: str) -> None:
        """Print the number of images that were skipped."""
        if skipped := self.skipped:
            say(f"Skipped {len(skipped)} unreadable images: {first_names(skipped)}")
