"""Files that cannot be read: what takes their place, and who counts them."""

from __future__ import annotations

import warnings
from abc import ABC
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from .base import DataError, ImageDataModule

T = TypeVar("T")


class SkipUnreadable:
    """Where asked, the next image that can be read takes the place of one that cannot.

    Args:
        paths: The images' files; of pairs, the first.
        wanted: Whether to put another in the place; otherwise the first that cannot be read is an error.

    Attributes:
        unreadable: Which have been found unreadable so far ``(len(paths),)`` bool, by any worker.
    """

    def __init__(self, paths: Sequence[str], wanted: bool) -> None:
        self.paths = paths
        self.wanted = wanted
        self.unreadable = torch.zeros(len(paths), dtype=torch.bool).share_memory_()  # type: ignore[no-untyped-call]

    def read(self, index: int, read: Callable[[int], T]) -> tuple[T, int]:
        """What is read at the index, or at the next where that is possible, and that index.

        Raises:
            DataError: What `read` raises, if no other is wanted; if nothing can be read.
        """
        for candidate in [*range(index, len(self.paths)), *range(index)]:
            if self.unreadable[candidate]:
                continue
            try:
                return read(candidate), candidate
            except DataError as error:
                if not self.wanted:
                    raise
                self.unreadable[candidate] = True
                warnings.warn(f"{error} The next image takes its place.", stacklevel=2)
        raise DataError("No image of the set can be read: is its disk still there?")

    @property
    def skipped(self) -> list[str]:
        """The files that have been found unreadable so far."""
        return [path for path, unreadable in zip(self.paths, self.unreadable.tolist(), strict=True) if unreadable]


class FilesDataModule(ImageDataModule, ABC):
    """Base of the datamodules whose sets say which files they have ``skipped``."""

    @property
    def skipped(self) -> list[str]:
        """The files that this process could not read so far; of pairs, the first."""
        return sorted({path for split in self.__dict__.get("splits", ()) for path in split.skipped})

    def teardown(self, stage: str) -> None:
        """Count the images that were skipped."""
        if skipped := self.skipped:
            print(f"Skipped {len(skipped)} unreadable images: {', '.join(skipped[:5])}{', …' * (len(skipped) > 5)}")
