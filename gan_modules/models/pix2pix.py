"""Image-to-Image Translation with Conditional Adversarial Networks: Isola et al., CVPR 2017, arXiv:1611.07004.

From pairs (x, y), a U-Net learns G(x) against a discriminator that sees the input beside the output, patch by patch:
min_G max_D E[log D(x, y)] + E[log(1 - D(x, G(x)))] + λ·E|y - G(x)| (Eq. 4). Noise enters as dropout alone.

=====================  =================================  ==================================
Departure              Paper                              Here
=====================  =================================  ==================================
test time              dropout on, BatchNorm with the     dropout off and averaged statistics;
                       test image's own statistics        the paper's with `stochastic=True`
bottleneck             BatchNorm                          none, as in the published code
learning rate          constant                           100 + 100 epochs, the published code
batch and jitter       1 to 10; 286 cropped to 256        the datamodule's arguments
sizes                  256×256                            any power of two, and multiples
=====================  =================================  ==================================
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Unpack

import torch
from torch import nn
from torch.nn.functional import l1_loss

from gan_modules.engine.inputs import Inputs
from gan_modules.engine.players import GameOptions, Losses, Phase, Player, adam
from gan_modules.errors import GANError
from gan_modules.families.translation import Direction, TranslationGAN
from gan_modules.functional import losses
from gan_modules.functional.precision import at_least_float32
from gan_modules.networks import build_patchgan, build_translator
from gan_modules.networks.norms import Norm


class Pix2Pix(TranslationGAN):
    """The conditional game on pairs (arXiv:1611.07004).

    Args:
        image_shape: ``(C, H, W)`` of the input.
        target_shape: ``(C, H, W)`` of the output, of the same height and width; by default like the input.
        generator: "unet_256", "resnet_9" and so on, see `gan_modules.networks.build_translator`; by default the U-Net
            with the most halvings that the image's sides allow. Or any network from images to images.
        base_channels: Channels after the generator's first layer.
        discriminator_channels: Channels after the discriminator's first layer.
        patch_layers: Strided layers of the discriminator: 0, 1, 2, 3, 4, 5 for patches of 1, 16, 34, 70, 142, 286.
        norm: "batch" or "instance", in both networks.
        dropout: Whether the generator has dropout.
        l1_weight: Weight of the distance to the truth (the paper's λ).
        lr_g: Learning rate of the generator.
        lr_d: Learning rate of the discriminator.
        betas: Adam's decay rates.
        epochs_constant: Epochs at the full learning rates.
        epochs_decay: Epochs in which they then fall to 0 in a straight line; `None` keeps them up.
        discriminator: Replaces the PatchGAN: any network from pairs ``(N, C_A + C_B, H, W)`` to logits.
        **options: See `gan_modules.GAN`; there is no moving average unless asked for.
    """

    paper = "Image-to-Image Translation with Conditional Adversarial Networks"
    arxiv = "1611.07004"
    year = 2017

    def __init__(
        self,
        image_shape: Sequence[int] = (3, 256, 256),
        target_shape: Sequence[int] | None = None,
        generator: str | nn.Module | None = None,
        base_channels: int = 64,
        discriminator_channels: int = 64,
        patch_layers: int = 3,
        norm: Norm = "batch",
        dropout: bool = True,
        l1_weight: float = 100.0,
        lr_g: float = 2e-4,
        lr_d: float = 2e-4,
        betas: tuple[float, float] = (0.5, 0.999),
        epochs_constant: int = 100,
        epochs_decay: int | None = 100,
        discriminator: nn.Module | None = None,
        **options: Unpack[GameOptions],
    ) -> None:
        super().__init__(image_shape, target_shape, epochs_constant, epochs_decay, **options)
        source, target = self.image_shape, self.target_shape
        if source[1:] != target[1:]:
            raise GANError(f"Pix2Pix needs both domains of one size, not {source} and {target}: resize the data.")
        if generator is None:
            common = math.gcd(*source[1:])
            power_of_two = common & -common
            if power_of_two < 4:
                raise GANError(f"No U-Net halves {source[1:]}: choose multiples of 4 (better of 32).")
            generator = f"unet_{power_of_two}"
        if isinstance(generator, str):
            generator = build_translator(generator, source[0], target[0], base_channels, norm, dropout)
        self.generator = generator
        self.discriminator = discriminator or build_patchgan(
            source[0] + target[0], discriminator_channels, patch_layers, norm
        )
        for network in (self.generator, self.discriminator):
            network.to(memory_format=torch.channels_last)  # with BatchNorm faster; InstanceNorm undoes it
        self.check_sizes(self.generator, self.discriminator)
        self.track_average("generator")
        self.l1_weight = l1_weight
        self.optimizer_g, self.optimizer_d = adam(lr_g, betas), adam(lr_d, betas)

    def translators(self, ema: bool = False) -> dict[Direction, nn.Module]:
        """Return the one generator."""
        return {"AtoB": self.averaged("generator", ema)}

    def players(self) -> dict[str, Player]:
        """Return the discriminator and the generator."""
        return {
            "discriminator": Player(self.discriminator, self.optimizer_d, self.schedule),
            "generator": Player(self.generator, self.optimizer_g, self.schedule),
        }

    def phases(self) -> list[Phase]:
        """Return the discriminator's update and then the generator's."""
        return [Phase("discriminator", self.discriminator_losses), Phase("generator", self.generator_losses)]

    def discriminator_losses(self, x: Inputs) -> Losses:
        """Return the discriminator's loss on pairs, at half weight, since the generator learns slower."""
        source, truth = x.real.values()
        fake = self.discriminator(torch.cat([source, x.fake["AtoB"]], dim=1))
        real = self.discriminator(torch.cat([source, truth], dim=1))
        return {"minimax": 0.5 * losses.minimax_d(real, fake)}

    def generator_losses(self, x: Inputs) -> Losses:
        """Return the adversarial loss and the distance to the truth (Eq. 4)."""
        source, truth = x.real.values()
        fake = x.fake["AtoB"]
        return {
            "adversarial": losses.non_saturating_g(self.discriminator(torch.cat([source, fake], dim=1))),
            "l1": self.l1_weight * l1_loss(at_least_float32(fake), truth),
        }
