"""From z to w and from w to images, by the generators that have a w."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, Protocol, cast

import torch
from torch import Tensor

from gan_modules.base import GANError, LatentGAN

CHUNK = 16  # images through a synthesis network at a time, which bounds the memory of their making


class StyleNetwork(Protocol):
    """A style-based generator (arXiv:1812.04948): two networks with the styles between them."""

    def mapping(
        self, z: Tensor, labels: Tensor | None = None, truncation: float = 1.0, truncation_cutoff: int | None = None
    ) -> Tensor:
        """Styles ``(N, num_ws, w_dim)`` of latents ``(N, latent_dim)``."""

    def synthesis(self, ws: Tensor, noise: Literal["random", "const", "none"] = "const") -> Tensor:
        """Images ``(N, C, H, W)`` of styles."""


def has_styles(model: LatentGAN) -> bool:
    """Whether the model's generator has a w between noise and images."""
    return all(callable(getattr(model.generator, part, None)) for part in ("mapping", "synthesis"))


def check_styles(model: LatentGAN, asker: str) -> None:
    """Refuse models whose generator has no w.

    Raises:
        GANError: The generator is not style-based.
    """
    if not has_styles(model):
        raise GANError(f"{asker} works on the styles of a StyleGAN, and {type(model).__name__} has none.")


@torch.no_grad()
def to_styles(
    model: LatentGAN, z: Tensor, condition: tuple[Tensor, ...], truncation: float = 1.0, ema: bool = True
) -> Tensor:
    """Styles ``(N, num_ws, w_dim)`` of latents ``(N, latent_dim)`` and what `LatentGAN.condition` gives for them."""
    with _at_rest(model, ema) as network:
        return network.mapping(z.to(model.device), *condition, truncation=truncation)


@torch.no_grad()
def to_images(model: LatentGAN, ws: Tensor, ema: bool = True) -> Tensor:
    """Images ``(N, C, H, W)`` in float32 of styles ``(N, num_ws, w_dim)``, with the generator's constant noise."""
    with _at_rest(model, ema) as network:
        return torch.cat([network.synthesis(part, noise="const").float() for part in ws.split(CHUNK)])


@contextmanager
def _at_rest(model: LatentGAN, ema: bool) -> Iterator[StyleNetwork]:
    network = model.generator_ema if ema and model.generator_ema is not None else model.generator
    was_training = network.training
    network.eval()
    try:
        yield cast(StyleNetwork, network)
    finally:
        network.train(was_training)
