"""The family of style-based games: latents to styles, styles to images."""

from __future__ import annotations

from abc import ABC
from dataclasses import replace
from typing import Any, cast

import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor, nn

from gan_modules.engine.contexts import evaluating
from gan_modules.engine.inputs import Inputs
from gan_modules.engine.players import Phase
from gan_modules.errors import GANError
from gan_modules.families.latent import LatentGAN

STYLE_CHUNK = 16  # images through a synthesis network at a time, which bounds the memory of their making


class StyleBasedGAN(LatentGAN, ABC):
    """A latent game whose generator works in two steps: latents to styles, styles to images (arXiv:1812.04948).

    The generator offers ``mapping(z, labels=None, truncation=1.0, truncation_cutoff=None)``, styles ``(N, L, D)`` for
    its L layers, and ``synthesis(styles, noise="random")``. Each phase has latents of its own. Samples have constant
    noise: an image is a function of its latent.

    Args:
        generator: As above.
        discriminator: From images, and labels in a conditional game, to logits ``(N, 1)``.
        style_mixing_prob: Probability that in a batch the layers from a random one on get other latents' styles
            (Sec. 3.1).
        truncation_cutoff: Layers, counted from the coarsest, that `sample`'s truncation reaches; `None` for all.
        **options: See `LatentGAN`.
    """

    generator_is_conditional = True
    discriminator_is_conditional = True

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        *,
        style_mixing_prob: float,
        truncation_cutoff: int | None,
        **options: Any,
    ) -> None:
        super().__init__(generator, discriminator, **options)
        if not 0 <= style_mixing_prob <= 1:
            raise GANError(f"style_mixing_prob={style_mixing_prob} must be a probability, from 0 to 1.")
        self.style_mixing_prob = style_mixing_prob
        self.truncation_cutoff = truncation_cutoff

    def configure_model(self) -> None:
        """Refuse what cannot be spread over processes: the networks are used in parts, mapping and synthesis.

        Raises:
            GANError: Under a `ModelParallelStrategy`.
        """
        if isinstance(self.trainer.strategy, ModelParallelStrategy):
            raise GANError(
                f"{type(self).__name__} cannot be sharded: leave the strategy out, Trainer(devices=2) trains."
            )

    def phases(self) -> list[Phase]:
        """Return the phases of a latent game, each with latents of its own."""
        return [replace(phase, fresh=True) for phase in super().phases()]

    def generate(self, x: Inputs) -> Tensor:
        """Return images with mixed styles."""
        return cast(Tensor, self.generator.synthesis(self.mixed_styles(x)))

    def mixed_styles(self, x: Inputs) -> Tensor:
        """Return styles ``(N, L, D)`` of the latents of `x`, mixed at one layer for the whole batch or not at all."""
        mapping = self.generator.mapping
        styles: Tensor = mapping(x.z, *x.condition)
        if torch.rand(()) < self.style_mixing_prob:  # on the CPU, so that nothing waits for the device
            others = mapping(x.redraw(len(x.z)).z, *x.condition)
            cutoff = int(torch.randint(1, self.mixed_layers, ()))
            styles = torch.cat([styles[:, :cutoff], others[:, cutoff:]], dim=1)
        return styles

    @property
    def mixed_layers(self) -> int:
        """Layers between which styles are mixed, from the coarsest: all of them."""
        return int(self.generator.num_ws)

    def synthesize(self, generator: nn.Module, z: Tensor, *condition: Any, truncation: float) -> Tensor:
        """Return images of latents, their styles drawn towards the mean style, clamped to [-1, 1]."""
        network = cast(Any, generator)
        styles = network.mapping(z, *condition, truncation=truncation, truncation_cutoff=self.truncation_cutoff)
        return cast(Tensor, network.synthesis(styles, noise="const")).clamp(-1, 1)

    @torch.no_grad()
    def to_styles(
        self, z: Tensor, condition: tuple[Any, ...] = (), *, truncation: float = 1.0, ema: bool = True
    ) -> Tensor:
        """Return styles ``(N, L, D)`` of latents ``(N, latent_dim)`` and of what `sample_condition` gives for them."""
        network = cast(Any, self.averaged("generator", ema))
        labels = next(iter(condition), None)
        with evaluating(network):
            return cast(Tensor, network.mapping(z.to(self.device), labels, truncation, self.truncation_cutoff))

    @torch.no_grad()
    def from_styles(self, styles: Tensor, *, ema: bool = True) -> Tensor:
        """Return images ``(N, C, H, W)`` in [-1, 1] of styles ``(N, L, D)``, as `sample` makes them."""
        network = cast(Any, self.averaged("generator", ema))
        with evaluating(network):
            parts = torch.split(styles.to(self.device), STYLE_CHUNK)
            return torch.cat([network.synthesis(part, noise="const").float().clamp(-1, 1) for part in parts])
