"""Unsupervised Representation Learning with Deep Convolutional GANs: Radford et al., ICLR 2016, arXiv:1511.06434.

The game of arXiv:1406.2661 between convolutional networks without pooling or hidden dense layers, with BatchNorm in
both, ReLU in the generator and LeakyReLU in the discriminator, which sees reals and fakes in separate batches.

=====================  =================================  ==================================
Departure              Paper                              Here
=====================  =================================  ==================================
latents                uniform on [-1, 1]                 standard normal
sizes                  64×64                              powers of two, by adding layers
batch                  128                                the datamodule's `batch_size`
generator's fakes      drawn anew for its move            those the discriminator just judged
samples                the generator's                    its moving average's
=====================  =================================  ==================================
"""

from collections.abc import Sequence
from typing import Unpack

from torch import Tensor

from gan_modules.engine.players import GameOptions, Losses, adam
from gan_modules.families.latent import UnconditionalGAN
from gan_modules.functional import losses
from gan_modules.networks import DCGANDiscriminator, DCGANGenerator


class DCGAN(UnconditionalGAN):
    """The convolutional game (arXiv:1511.06434).

    Args:
        image_shape: ``(C, H, W)``, square, with a power of two from 8 to 256.
        latent_dim: Size of the latent vector.
        base_channels: Channels at half the image's size; they double with each halving, to 1024 for 64×64 by default.
        lr_g: Learning rate of the generator.
        lr_d: Learning rate of the discriminator.
        betas: Adam's decay rates.
        n_critic: Moves of the discriminator a round.
        **options: See `gan_modules.GAN`.
    """

    def __init__(
        self,
        image_shape: Sequence[int] = (3, 64, 64),
        latent_dim: int = 100,
        base_channels: int = 128,
        lr_g: float = 2e-4,
        lr_d: float = 2e-4,
        betas: tuple[float, float] = (0.5, 0.999),
        n_critic: int = 1,
        **options: Unpack[GameOptions],
    ) -> None:
        super().__init__(
            generator=DCGANGenerator(image_shape, latent_dim, base_channels),
            discriminator=DCGANDiscriminator(image_shape, base_channels),
            image_shape=image_shape,
            latent_dim=latent_dim,
            optimizer_g=adam(lr_g, betas),
            optimizer_d=adam(lr_d, betas),
            n_critic=n_critic,
            **options,
        )
        self.save_hyperparameters()

    def discriminator_losses(self, real: Tensor, fake: Tensor) -> Losses:
        """Tell reals from fakes (arXiv:1406.2661, Eq. 1)."""
        return {"minimax": losses.minimax_d(self.discriminator(real), self.discriminator(fake))}

    def generator_losses(self, fake: Tensor) -> Losses:
        """Be taken for real: -log D(G(z))."""
        return {"adversarial": losses.non_saturating_g(self.discriminator(fake))}
