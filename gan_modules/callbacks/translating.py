"""The two domains of a batch."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from gan_modules.errors import GANError
from gan_modules.families import batches
from gan_modules.families.translation import Direction

Pair = tuple[Tensor, Tensor]


def pair(model: Any, batch: Any, asker: str) -> Pair:
    """Return the images of domain A and of domain B in a batch.

    Args:
        model: Which may know how to read it.
        batch: What the loader gives.
        asker: Who needs them, for the message.

    Raises:
        GANError: If there are not two domains in it.
    """
    own = getattr(model, "columns", None)
    taken = batches.domains(batch) if own is None else own(batch)
    if not isinstance(taken, tuple | list) or len(taken) < 2 or not all(isinstance(part, Tensor) for part in taken[:2]):
        raise GANError(
            f"{asker} needs images of two domains in each batch, and found {batches.description(batch)}: bring pairs "
            f"(a, b), or CombinedLoader({{'A': …, 'B': …}}, 'min_size') of two loaders."
        )
    return taken[0], taken[1]


def ends(images: Pair, direction: Direction) -> Pair:
    """Return the images that a direction starts from, and those of the domain that it leads to."""
    a, b = images
    return (a, b) if direction == "AtoB" else (b, a)
