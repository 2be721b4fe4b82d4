"""A Style-Based Generator Architecture for Generative Adversarial Networks: Karras et al., CVPR 2019, arXiv:1812.04948.

The non-saturating game with R1, in which the generator is told at each size, coarse to fine, which style to paint in.
Both networks grow from 8×8 with the training (arXiv:1710.10196): after some images at one size the next layers are
faded in, and the reals are faded likewise.

=====================  =================================  ==================================
Departure              Paper                              Here
=====================  =================================  ==================================
batch                  256 at 8×8 down to 32 at 128×128   the datamodule's `batch_size`,
                       and above, over 8 GPUs             the same at all sizes
labels of fakes        drawn from the training set        those of the batch's reals
                       (published code)
samples                truncated by 0.7                   by `sample(truncation=0.7)`
moving average         no ramp-up                         ramp-up, see `ema_half_life`
mean style             of unmixed latents (code)          of those mixed in, too
=====================  =================================  ==================================
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Unpack

from torch import Tensor
from torch.nn import functional as F

from gan_modules.engine.players import GameOptions, Losses, adam
from gan_modules.errors import GANError
from gan_modules.families.latent import Deal
from gan_modules.families.style import StyleBasedGAN
from gan_modules.functional import losses, regularizers
from gan_modules.networks import StyleGANDiscriminator, StyleGANGenerator

RATES = {128: 1.5, 256: 2.0, 512: 3.0, 1024: 3.0}  # the learning rates at these sizes, relative to the smaller ones'


class StyleGAN(StyleBasedGAN):
    """The style-based game between growing networks (arXiv:1812.04948).

    Args:
        image_shape: ``(C, H, W)``, square, with a power of two from 8 to 1024.
        num_classes: Classes of the data; 0 where it has none.
        conditional: Whether both networks are told the classes that there are.
        latent_dim: Size of the latent vector.
        style_dim: Size of a style.
        mapping_layers: Layers between the two.
        channel_base: Channels times image size, where that is below `channel_max`.
        channel_max: Most channels of a layer.
        first_size: Height and width at which the training begins.
        lod_training_images: Images seen at one size before the next is faded in.
        lod_transition_images: Images over which it is.
        r1_weight: Weight of R1 (γ).
        style_mixing: Share of the batches with mixed styles.
        truncation_cutoff: Layers, from the coarsest, that `sample`'s truncation reaches.
        lr_g: Learning rate of the generator below 128×128; above, it is up to three times as high.
        lr_d: Learning rate of the discriminator, likewise.
        betas: Adam's decay rates.
        **options: See `gan_modules.GAN`.
    """

    generator: StyleGANGenerator
    discriminator: StyleGANDiscriminator
    generator_ema: StyleGANGenerator | None

    def __init__(
        self,
        image_shape: Sequence[int] = (3, 1024, 1024),
        num_classes: int = 0,
        conditional: bool = True,
        latent_dim: int = 512,
        style_dim: int = 512,
        mapping_layers: int = 8,
        channel_base: int = 16384,
        channel_max: int = 512,
        first_size: int = 8,
        lod_training_images: int = 600_000,
        lod_transition_images: int = 600_000,
        r1_weight: float = 10.0,
        style_mixing: float = 0.9,
        truncation_cutoff: int | None = 8,
        lr_g: float = 1e-3,
        lr_d: float = 1e-3,
        betas: tuple[float, float] = (0.0, 0.99),
        **options: Unpack[GameOptions],
    ) -> None:
        told = num_classes if conditional else 0
        width = {"channel_base": channel_base, "channel_max": channel_max}
        super().__init__(
            generator=StyleGANGenerator(image_shape, latent_dim, told, style_dim, mapping_layers, **width),
            discriminator=StyleGANDiscriminator(image_shape, told, **width),
            image_shape=image_shape,
            num_classes=told,
            latent_dim=latent_dim,
            optimizer_g=adam(lr_g, betas),
            optimizer_d=adam(lr_d, betas),
            schedule=self.rate,
            style_mixing=style_mixing,
            truncation_cutoff=truncation_cutoff,
            **options,
        )
        self.save_hyperparameters()
        self.size = self.image_shape[-1]
        if first_size not in [4 << index for index in range(self.size.bit_length() - 2)]:
            raise GANError(f"first_size={first_size} must be a power of two from 4 to the images' {self.size}.")
        if lod_training_images < 0 or lod_transition_images < 0 or lod_training_images + lod_transition_images == 0:
            raise GANError(
                f"{lod_training_images=} and {lod_transition_images=} must be numbers of images, and not both 0."
            )
        self.first_size = first_size
        self.lod_training_images = lod_training_images
        self.lod_transition_images = lod_transition_images
        self.r1_weight = r1_weight
        self._set_level(self.level)

    @property
    def level(self) -> float:
        """Halvings below full size at which the networks work, after the images seen so far; see `Growing`."""
        grown, images = divmod(self.images_seen, self.lod_training_images + self.lod_transition_images)
        faded = (
            max(images - self.lod_training_images, 0) / self.lod_transition_images
            if self.lod_transition_images
            else 0.0
        )
        level = max(math.log2(self.size / self.first_size) - grown - faded, 0.0)
        return round(level * 4096) / 4096  # exact in float32, as files hold it

    def rate(self, round: int) -> float:
        """Factor on both learning rates, by the size at which the networks work."""
        return RATES.get(self.size >> int(self.level), 1.0)

    def deal(self, batch: Sequence[Tensor], movers: Sequence[str]) -> Sequence[tuple[Deal, float]]:
        """Reals as coarse as the images that the networks now make."""
        self._grow()
        return super().deal([self.match_lod(batch[0]), *batch[1:]], movers)

    def match_lod(self, real: Tensor) -> Tensor:
        """Images ``(N, C, H, W)`` at the networks' level, faded as the generator's are (arXiv:1710.10196, Fig. 2)."""
        whole, fade = int(self.generator.level), self.generator.level % 1
        fine = _pixelate(real, 1 << whole)
        return fine.lerp(_pixelate(real, 2 << whole), fade) if fade else fine

    @property
    def mixed_layers(self) -> int:
        """Layers that work at the present level."""
        return 2 * self.generator.working()[0]

    def discriminator_losses(self, real: Tensor, fake: Tensor, *labels: Tensor) -> Losses:
        """Tell reals from fakes, and be flat around the reals (R1, arXiv:1801.04406)."""
        return {
            "non_saturating": losses.minimax_d(self.discriminator(real, *labels), self.discriminator(fake, *labels)),
            "r1": self.r1_weight * regularizers.r1(self.discriminator, real, *labels),
        }

    def generator_losses(self, fake: Tensor, *labels: Tensor) -> Losses:
        """Be taken for real."""
        return {"adversarial": losses.non_saturating_g(self.discriminator(fake, *labels))}

    def measured(self) -> dict[str, float]:
        """How far the networks have grown."""
        return {"level": self.level}

    def _grow(self) -> None:
        """Set the networks to the present level; when layers come or go, forget the moments (published code)."""
        before, level = self.generator.level, self.level
        if (math.floor(before), math.ceil(before)) != (math.floor(level), math.ceil(level)):
            for optimizer in self._optimizers.values():
                optimizer.state.clear()
        self._set_level(level)

    def _set_level(self, level: float) -> None:
        for network in (self.generator, self.discriminator, self.generator_ema):
            if network is not None:
                network.level = level


def _pixelate(images: Tensor, factor: int) -> Tensor:
    """Replace squares of pixels by their mean."""
    return F.interpolate(F.avg_pool2d(images, factor), scale_factor=factor) if factor > 1 else images
