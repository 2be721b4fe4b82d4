"""The real samples of a batch."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def reals(batch: Tensor | Sequence[Tensor]) -> Tensor:
    """Return the real samples of a batch, which come first."""
    return batch if isinstance(batch, Tensor) else batch[0]
