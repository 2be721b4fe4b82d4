"""Unsupervised Representation Learning with Deep Convolutional GANs: Radford et al., ICLR 2016, arXiv:1511.06434.

The game of arXiv:1406.2661 between convolutional networks without pooling or hidden dense layers, with BatchNorm in
both, ReLU in the generator and LeakyReLU in the discriminator, which sees reals and fakes in separate batches.

=====================  =================================  ==================================
Departure              Paper                              Here
=====================  =================================  ==================================
latents                uniform on [-1, 1]                 standard normal
sizes                  64×64                              powers of two, by adding layers
batch                  128                                the datamodule's `batch_size`
generator's fakes      made again for its update          those the discriminator has just seen
samples                the generator's                    its moving average's
=====================  =================================  ==================================
"""

from collections.abc import Sequence
from typing import Unpack

from torch import nn

from gan_modules.engine.inputs import Inputs
from gan_modules.engine.players import Losses, adam
from gan_modules.families.latent import LatentGAN, LatentOptions
from gan_modules.functional import losses
from gan_modules.networks import DCGANDiscriminator, DCGANGenerator


class DCGAN(LatentGAN):
    """The convolutional game (arXiv:1511.06434).

    Args:
        image_shape: ``(C, H, W)``, square, with a power of two from 8 to 256.
        latent_dim: Size of the latent vector.
        base_channels: Channels at half the image's size; they double with each halving, to 1024 for 64×64 by default.
        lr_g: Learning rate of the generator.
        lr_d: Learning rate of the discriminator.
        betas: Adam's decay rates.
        n_critic: Updates of the discriminator in a step.
        generator: Replaces the paper's generator: any network from latents ``(N, latent_dim)`` to samples.
        discriminator: Replaces the paper's discriminator: any network from samples to logits ``(N, 1)``.
        **options: See `gan_modules.families.latent.LatentGAN`.
    """

    paper = "Unsupervised Representation Learning with Deep Convolutional GANs"
    arxiv = "1511.06434"
    year = 2016

    def __init__(
        self,
        image_shape: Sequence[int] = (3, 64, 64),
        latent_dim: int = 100,
        base_channels: int = 128,
        lr_g: float = 2e-4,
        lr_d: float = 2e-4,
        betas: tuple[float, float] = (0.5, 0.999),
        n_critic: int = 1,
        generator: nn.Module | None = None,
        discriminator: nn.Module | None = None,
        **options: Unpack[LatentOptions],
    ) -> None:
        super().__init__(
            generator=generator or DCGANGenerator(image_shape, latent_dim, base_channels),
            discriminator=discriminator or DCGANDiscriminator(image_shape, base_channels),
            image_shape=image_shape,
            latent_dim=latent_dim,
            optimizer_g=adam(lr_g, betas),
            optimizer_d=adam(lr_d, betas),
            n_critic=n_critic,
            **options,
        )

    def discriminator_losses(self, x: Inputs) -> Losses:
        """Return the negated value of the game (arXiv:1406.2661, Eq. 1)."""
        return {"minimax": losses.minimax_d(self.logits(x.real), self.logits(x.fake))}

    def generator_losses(self, x: Inputs) -> Losses:
        """Return -log D(G(z))."""
        return {"adversarial": losses.non_saturating_g(self.logits(x.fake))}
