"""What a callback may ask of a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from lightning.pytorch import LightningModule
from torch import Tensor

from gan_modules.errors import GANError
from gan_modules.scoring.generation import Sampler


def as_sampler(model: LightningModule, asker: str) -> Sampler:
    """The model itself, known to have `sample`.

    Raises:
        GANError: If it makes no images from noise.
    """
    if not callable(getattr(model, "sample", None)):
        raise GANError(
            f"{asker} needs a model that makes images from noise, and {type(model).__name__} has no sample(): "
            f"leave {asker} out."
        )
    return cast(Sampler, model)


def reals(batch: Tensor | Sequence[Tensor]) -> Tensor:
    """Return the real samples of a batch, which come first."""
    return batch if isinstance(batch, Tensor) else batch[0]
