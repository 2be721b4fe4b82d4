"""The family of style-based games: latents to styles, styles to images."""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from typing import Any, cast

import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor, nn

from gan_modules.errors import GANError
from gan_modules.families.latent import Deal, LatentGAN


class StyleBasedGAN(LatentGAN, ABC):
    """A latent game whose generator works in two steps: latents to styles, styles to images (arXiv:1812.04948).

    The generator offers ``mapping(z, labels=None, truncation=1.0, truncation_cutoff=None)``, styles ``(N, L, D)`` for
    its L layers, and ``synthesis(styles, noise="random")``. Each move draws latents of its own. Samples have constant
    noise: an image is a function of its latent.

    Args:
        generator: As above.
        discriminator: From images, and labels in a conditional game, to logits ``(N, 1)``.
        style_mixing: Share of the training's batches in which the layers from a random one on get other latents'
            styles (Sec. 3.1).
        truncation_cutoff: Layers, counted from the coarsest, that `sample`'s truncation reaches; `None` for all.
        **options: See `LatentGAN`.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        *,
        style_mixing: float,
        truncation_cutoff: int | None,
        **options: Any,
    ) -> None:
        super().__init__(generator, discriminator, **options)
        if not 0 <= style_mixing <= 1:
            raise GANError(f"style_mixing={style_mixing} must be a share of the batches, from 0 to 1.")
        self.style_mixing = style_mixing
        self.truncation_cutoff = truncation_cutoff

    def configure_model(self) -> None:
        """Say so where the networks cannot be spread: they are used in parts, mapping and synthesis.

        Raises:
            GANError: Under a `ModelParallelStrategy`.
        """
        if isinstance(self.trainer.strategy, ModelParallelStrategy):
            raise GANError(
                f"{type(self).__name__} cannot be sharded: leave the strategy out, Trainer(devices=2) trains."
            )

    def deal(self, batch: Sequence[Tensor], movers: Sequence[str]) -> Sequence[tuple[Deal, float]]:
        """Reals and labels."""
        real = batch[0].contiguous(memory_format=torch.channels_last)
        columns = [tensor.chunk(self.accumulate) for tensor in (real, *batch[1 : 1 + bool(self.num_classes)])]
        return [
            (Deal(part, tuple(condition)), len(part) / len(real)) for part, *condition in zip(*columns, strict=True)
        ]

    def generate(self, deal: Deal) -> Tensor:
        """Images from latents drawn anew, with mixed styles."""
        return cast(Tensor, cast(Any, self.generator).synthesis(self.styles(len(deal.real), deal.condition)))

    def styles(self, n: int, condition: tuple[Tensor, ...]) -> Tensor:
        """Styles ``(n, L, D)`` of latents drawn anew, mixed at one layer for the whole batch or not at all."""
        mapping = cast(Any, self.generator).mapping
        styles: Tensor = mapping(torch.randn(n, self.latent_dim, device=self.device), *condition)
        if torch.rand(()) < self.style_mixing:  # on the CPU, so that nothing waits for the device
            others = mapping(torch.randn(n, self.latent_dim, device=self.device), *condition)
            cutoff = int(torch.randint(1, self.mixed_layers, ()))
            styles = torch.cat([styles[:, :cutoff], others[:, cutoff:]], dim=1)
        return styles

    @property
    def mixed_layers(self) -> int:
        """Layers between which styles are mixed, from the coarsest: all of them."""
        return int(cast(Any, self.generator).num_ws)

    def synthesize(self, generator: nn.Module, z: Tensor, *labels: Tensor, truncation: float) -> Tensor:
        """Images from latents, their styles drawn towards the mean style; what is beyond white or black is cut."""
        network = cast(Any, generator)
        styles = network.mapping(z, *labels, truncation=truncation, truncation_cutoff=self.truncation_cutoff)
        return cast(Tensor, network.synthesis(styles, noise="const")).clamp(-1, 1)
