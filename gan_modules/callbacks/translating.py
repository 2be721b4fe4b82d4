"""The two domains of a batch."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from gan_modules.families.translation import Direction


def ends(batch: Sequence[Tensor], direction: Direction) -> tuple[Tensor, Tensor]:
    """Return the images that a direction starts from, and those of the domain that it leads to."""
    a, b = batch
    return (a, b) if direction == "AtoB" else (b, a)
