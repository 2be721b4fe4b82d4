"""From z to w and from w to images, by the models that have a w."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, Protocol, cast

import torch
from torch import Tensor

from gan_modules.errors import GANError
from gan_modules.families.latent import LatentGAN
from gan_modules.families.style import StyleBasedGAN

CHUNK = 16  # images through a synthesis network at a time, which bounds the memory of their making


class StyleNetwork(Protocol):
    """A style-based generator (arXiv:1812.04948): two networks with the styles between them."""

    def mapping(
        self, z: Tensor, labels: Tensor | None = None, truncation: float = 1.0, truncation_cutoff: int | None = None
    ) -> Tensor:
        """Styles ``(N, num_ws, w_dim)`` of latents ``(N, latent_dim)``."""

    def synthesis(self, ws: Tensor, noise: Literal["random", "const", "none"] = "random") -> Tensor:
        """Images ``(N, C, H, W)`` of styles."""


def style_based(model: LatentGAN, asker: str) -> StyleBasedGAN:
    """The model itself, known to have a w.

    Raises:
        GANError: If it has none.
    """
    if not isinstance(model, StyleBasedGAN):
        raise GANError(f"{asker} works on the styles of a StyleGAN, and {type(model).__name__} has none.")
    return model


@torch.no_grad()
def to_styles(
    model: StyleBasedGAN, z: Tensor, condition: tuple[Tensor, ...], truncation: float = 1.0, ema: bool = True
) -> Tensor:
    """Styles ``(N, num_ws, w_dim)`` of latents ``(N, latent_dim)`` and of what `LatentGAN.condition` gives for them."""
    labels = next(iter(condition), None)
    with at_rest(model, ema) as network:
        return network.mapping(z.to(model.device), labels, truncation, model.truncation_cutoff)


@torch.no_grad()
def to_images(model: StyleBasedGAN, ws: Tensor, ema: bool = True) -> Tensor:
    """Images ``(N, C, H, W)`` in [-1, 1] of styles ``(N, num_ws, w_dim)``, as `sample` makes them."""
    with at_rest(model, ema) as network:
        return torch.cat(
            [network.synthesis(part, noise="const").float().clamp(-1, 1) for part in torch.split(ws, CHUNK)]
        )


@contextmanager
def at_rest(model: StyleBasedGAN, ema: bool) -> Iterator[StyleNetwork]:
    """The generator, averaged where there is an average, in evaluation mode for the moment."""
    network = model.generator_ema if ema and model.generator_ema is not None else model.generator
    was_training = network.training
    network.eval()
    try:
        yield cast(StyleNetwork, network)
    finally:
        network.train(was_training)
