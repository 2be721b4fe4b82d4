"""What a callback may ask of an image-to-image model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, cast

from lightning.pytorch import LightningModule
from torch import Tensor

from gan_modules.errors import GANError
from gan_modules.families.translation import Direction


class Translator(Protocol):
    """A model that translates images; `gan_modules.families.latent.TranslationGAN` is the real one."""

    image_shape: tuple[int, ...]
    target_shape: tuple[int, ...]
    directions: tuple[Direction, ...]

    def translate(self, images: Tensor, direction: Direction = "AtoB") -> Tensor:
        """Translations of images ``(N, C, H, W)`` in [-1, 1]."""


def as_translator(model: LightningModule, asker: str) -> Translator:
    """The model itself, known to have `translate`.

    Raises:
        GANError: If it does not translate images.
    """
    if not callable(getattr(model, "translate", None)):
        raise GANError(
            f"{asker} needs a model that translates images, and {type(model).__name__} has no translate(): leave "
            f"{asker} out."
        )
    return cast(Translator, model)


def ends(batch: Sequence[Tensor], direction: Direction) -> tuple[Tensor, Tensor]:
    """The images that a direction starts from, and those of the side it leads to."""
    a, b = batch
    return (a, b) if direction == "AtoB" else (b, a)
