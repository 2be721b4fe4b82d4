"""A Style-Based Generator Architecture for Generative Adversarial Networks: Karras et al., CVPR 2019, arXiv:1812.04948.

The non-saturating game with R1, in which a style steers the generator at each size, coarse to fine.
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
from typing import Any, Unpack

from torch import Tensor, nn
from torch.nn import functional as F

from gan_modules.engine.inputs import Inputs
from gan_modules.engine.players import Losses, adam
from gan_modules.errors import GANError
from gan_modules.families.latent import LatentOptions
from gan_modules.families.style import StyleBasedGAN
from gan_modules.functional import losses, regularizers
from gan_modules.networks import StyleGANDiscriminator, StyleGANGenerator

RATES = {128: 1.5, 256: 2.0, 512: 3.0, 1024: 3.0}  # the learning rates at these sizes, relative to the smaller ones'


class StyleGAN(StyleBasedGAN):
    """The style-based game between growing networks (arXiv:1812.04948).

    Args:
        image_shape: ``(C, H, W)``, square, with a power of two from 8 to 1024.
        num_classes: Classes of the data; 0 where it has none.
        conditional: Whether both networks get the labels that there are.
        latent_dim: Size of the latent vector.
        style_dim: Size of a style.
        mapping_layers: Layers between the two.
        channel_base: Channels times image size, where that is below `channel_max`.
        channel_max: Most channels of a layer.
        first_size: Height and width at which the training begins.
        lod_training_images: Images seen at one size before the next is faded in.
        lod_transition_images: Images over which it is.
        r1_weight: Weight of R1 (γ).
        style_mixing_prob: Probability that a batch has mixed styles.
        truncation_cutoff: Layers, from the coarsest, that `sample`'s truncation reaches.
        lr_g: Learning rate of the generator below 128×128; above, it is up to three times as high.
        lr_d: Learning rate of the discriminator, likewise.
        betas: Adam's decay rates.
        generator: Replaces the paper's generator, with `mapping`, `synthesis`, `num_ws` and `lod` like it.
        discriminator: Replaces the paper's discriminator, with `lod` like it.
        **options: See `gan_modules.families.latent.LatentGAN`.
    """

    paper = "A Style-Based Generator Architecture for Generative Adversarial Networks"
    arxiv = "1812.04948"
    year = 2019

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
        style_mixing_prob: float = 0.9,
        truncation_cutoff: int | None = 8,
        lr_g: float = 1e-3,
        lr_d: float = 1e-3,
        betas: tuple[float, float] = (0.0, 0.99),
        generator: nn.Module | None = None,
        discriminator: nn.Module | None = None,
        **options: Unpack[LatentOptions],
    ) -> None:
        label_dim = num_classes if conditional else 0
        width = {"channel_base": channel_base, "channel_max": channel_max}
        super().__init__(
            generator=generator
            or StyleGANGenerator(image_shape, latent_dim, label_dim, style_dim, mapping_layers, **width),
            discriminator=discriminator or StyleGANDiscriminator(image_shape, label_dim, **width),
            image_shape=image_shape,
            num_classes=label_dim,
            latent_dim=latent_dim,
            optimizer_g=adam(lr_g, betas),
            optimizer_d=adam(lr_d, betas),
            schedule=self.rate,
            style_mixing_prob=style_mixing_prob,
            truncation_cutoff=truncation_cutoff,
            **options,
        )
        self.size = self.sample_shape[-1]
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
        self._set_lod(self.lod)

    @property
    def lod(self) -> float:
        """Level of detail: halvings below full size at which the networks work, after the images seen so far."""
        grown, images = divmod(self.images_seen, self.lod_training_images + self.lod_transition_images)
        faded = (
            max(images - self.lod_training_images, 0) / self.lod_transition_images
            if self.lod_transition_images
            else 0.0
        )
        lod = max(math.log2(self.size / self.first_size) - grown - faded, 0.0)
        return round(lod * 4096) / 4096  # exact in float32, as files hold it

    def rate(self, step: int) -> float:
        """Return the factor on both learning rates, by the size at which the networks work."""
        return RATES.get(self.size >> int(self.lod), 1.0)

    def inputs(self, batch: Any) -> Inputs:
        """Return a latent game's inputs, with reals as coarse as the images that the networks now make."""
        self.check_batch(batch)
        self._grow()
        return super().inputs([self.match_lod(batch[0]), *batch[1:]])

    def match_lod(self, real: Tensor) -> Tensor:
        """Return images ``(N, C, H, W)`` at the networks' lod, faded as the generator's (arXiv:1710.10196, Fig. 2)."""
        whole, fade = int(self.generator.lod), self.generator.lod % 1
        fine = _pixelate(real, 1 << whole)
        return fine.lerp(_pixelate(real, 2 << whole), fade) if fade else fine

    @property
    def mixed_layers(self) -> int:
        """Layers that work at the present lod."""
        return 2 * int(self.generator.active_blocks()[0])

    def discriminator_losses(self, x: Inputs) -> Losses:
        """Return the loss on reals and fakes, and R1 around the reals (arXiv:1801.04406)."""
        real, fake = self.logits(x.real, *x.condition), self.logits(x.fake, *x.condition)
        return {
            "non_saturating": losses.minimax_d(real, fake),
            "r1": self.r1_weight * regularizers.r1(self.logits, x.real, *x.condition),
        }

    def generator_losses(self, x: Inputs) -> Losses:
        """Return -log D(G(z))."""
        return {"adversarial": losses.non_saturating_g(self.logits(x.fake, *x.condition))}

    def extra_metrics(self) -> dict[str, float]:
        """Return how far the networks have grown."""
        return {"lod": self.lod}

    def _grow(self) -> None:
        """Set the networks to the present lod; when layers come or go, forget the moments (published code)."""
        before, lod = self.generator.lod, self.lod
        if (math.floor(before), math.ceil(before)) != (math.floor(lod), math.ceil(lod)):
            for optimizer in self.loop.optimizers.values():
                optimizer.state.clear()
        self._set_lod(lod)

    def _set_lod(self, lod: float) -> None:
        for network in (self.generator, self.discriminator, self.generator_ema):
            if network is not None:
                network.lod = lod


def _pixelate(images: Tensor, factor: int) -> Tensor:
    """Replace squares of pixels by their mean."""
    return F.interpolate(F.avg_pool2d(images, factor), scale_factor=factor) if factor > 1 else images
