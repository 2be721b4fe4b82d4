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

from gan_modules.engine.players import GameOptions, Losses, Player, adam
from gan_modules.errors import GANError
from gan_modules.families.translation import Direction, Pair, TranslationGAN
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
            with the most halvings that the image's sides allow.
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
        **options: See `gan_modules.GAN`; there is no moving average unless asked for.
    """

    def __init__(
        self,
        image_shape: Sequence[int] = (3, 256, 256),
        target_shape: Sequence[int] | None = None,
        generator: str | None = None,
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
        **options: Unpack[GameOptions],
    ) -> None:
        super().__init__(image_shape, target_shape, epochs_constant, epochs_decay, **options)
        self.save_hyperparameters()
        source, target = self.image_shape, self.target_shape
        if source[1:] != target[1:]:
            raise GANError(f"Pix2Pix needs both sides of one size, not {source} and {target}: resize the data.")
        if generator is None:
            size = math.gcd(*source[1:]) & -math.gcd(*source[1:])  # the power of two in both height and width
            if size < 4:
                raise GANError(f"No U-Net halves {source[1:]}: choose multiples of 4 (better of 32).")
            generator = f"unet_{size}"
        self.generator = build_translator(generator, source[0], target[0], base_channels, norm, dropout)
        self.discriminator = build_patchgan(source[0] + target[0], discriminator_channels, patch_layers, norm)
        for network in (self.generator, self.discriminator):
            network.to(memory_format=torch.channels_last)  # with BatchNorm faster; InstanceNorm undoes it
        self.check_sizes(self.generator, self.discriminator)
        self.generator_ema = self._averages.follow(self.generator)
        self.l1_weight = l1_weight
        self._optimizers_of = {"generator": adam(lr_g, betas), "discriminator": adam(lr_d, betas)}

    def translators(self, ema: bool = False) -> dict[Direction, nn.Module]:
        """The one generator."""
        return {"AtoB": self.generator_ema if ema and self.generator_ema is not None else self.generator}

    def configure_players(self) -> dict[str, Player]:
        """The discriminator and the generator."""
        optimizers = self._optimizers_of
        return {
            "discriminator": Player(self.discriminator, self.judge, optimizers["discriminator"], self.schedule),
            "generator": Player(self.generator, self.deceive, optimizers["generator"], self.schedule),
        }

    def turns(self, round: int) -> Sequence[Sequence[str]]:
        """One turn: the discriminator moves first."""
        return [("discriminator", "generator")]

    def judge(self, pair: Pair) -> Losses:
        """Tell pairs with the truth from pairs with a fake, at half weight, since the generator learns slower."""
        source, truth = pair.images.values()
        fake = self.discriminator(torch.cat([source, self.fake(pair, "AtoB").detach()], dim=1))
        real = self.discriminator(torch.cat([source, truth], dim=1))
        return {"minimax": 0.5 * losses.minimax_d(real, fake)}

    def deceive(self, pair: Pair) -> Losses:
        """Be taken for the truth, and be near it."""
        source, truth = pair.images.values()
        fake = self.fake(pair, "AtoB")
        return {
            "adversarial": losses.non_saturating_g(self.discriminator(torch.cat([source, fake], dim=1))),
            "l1": self.l1_weight * l1_loss(at_least_float32(fake), truth),
        }
