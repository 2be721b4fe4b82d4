"""What the folders of a set say: its splits, its classes, and the classes' order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from .base import DataError
from .printed import legible

Split = Literal["train", "val", "test"]
SPLITS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


def split_named(folder: str) -> Split | None:
    """Return the split that a folder's name means, in upper or lower case; `None` for any other name.

    >>> split_named("Valid"), split_named("cat")
    ('val', None)
    """
    return SPLITS.get(folder.lower())


def find_splits(place: str, names: Sequence[str]) -> tuple[list[Split | None], list[str]]:
    """Return the split of each file, and its name without that folder; all splits are `None` where the set has none.

    The splits are the topmost folders, as in ``train/cat/1.png``, or those below, as in ``cat/train/1.png``.

    Args:
        place: The set's folder, for messages.
        names: The files, with forward slashes.

    Raises:
        DataError: If files lie beside the splits, or there is nothing to train on.
    """
    for depth in (0, 1):
        found = [_split_at(name, depth) for name in names]
        splits = sorted({split for split in found if split})
        rest = [_without(name, depth) for name in names]
        outside = next((name for name, split in zip(names, found, strict=True) if split is None), None)
        if depth == 0 and outside is None and "train" not in splits:
            only = names[0].split("/")[0]
            raise DataError(
                f"{legible(place)} holds the split {' and '.join(splits)} but no folder train: add one, or pass "
                f"{legible(place)}/{legible(only)} itself to train on it."
            )
        if "train" in splits and len(splits) > 1:
            if outside is not None:
                raise DataError(
                    f"{legible(place)} has folders for {' and '.join(splits)}, and {legible(outside)} lies in none of "
                    f"them: move or remove it, or pass one of the folders itself."
                )
            return found, rest
        if depth == 0 and splits == ["train"] and outside is None:
            return [None] * len(names), rest
    return [None] * len(names), list(names)


def _split_at(name: str, depth: int) -> Split | None:
    folders = name.split("/")[:-1]
    return split_named(folders[depth]) if len(folders) > depth else None


def _without(name: str, depth: int) -> str:
    parts = name.split("/")
    return "/".join(parts[:depth] + parts[depth + 1 :])


def natural_order(names: set[str]) -> list[str]:
    """Return the names sorted, numbers in them by their size.

    >>> natural_order({"10", "2", "b", "a10", "a9"})
    ['2', '10', 'a9', 'a10', 'b']
    """
    return sorted(names, key=_natural)


def _natural(name: str) -> tuple[list[str | int], str]:
    parts = re.split(r"(\d+)", name)  # text and digits in turn
    return [int(part) if index % 2 else part for index, part in enumerate(parts)], name
