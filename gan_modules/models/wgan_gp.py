"""Improved Training of Wasserstein GANs: Gulrajani et al., NeurIPS 2017, arXiv:1704.00028.

The critic of arXiv:1701.07875, kept Lipschitz by a penalty on the norm of its gradient between reals and fakes (Eq. 3)
instead of by clipping. The penalty is per sample, so the critic has no BatchNorm (Sec. 4).

=====================  =================================  ==================================
Departure              Paper                              Here
=====================  =================================  ==================================
toy networks           3 hidden ReLU layers of 512        LeakyReLU in the critic
learning rates         1e-4; 2e-4 decayed to 0 over       1e-4, constant; the ResNets' with
                       100k rounds for CIFAR's ResNets    `lr_g=lr_d=2e-4, decay_rounds=100_000`
residual up block      nearest upsampling before the      before the first, as in the published
                       second convolution                 code
sizes                  32×32 (ResNet)                     powers of two, by adding blocks
generator's fakes      drawn anew for its move            those the discriminator just judged
samples                the generator's                    its moving average's
=====================  =================================  ==================================
"""

from collections.abc import Sequence
from typing import Unpack

from torch import Tensor, nn

from gan_modules.engine.players import GameOptions, Losses, adam
from gan_modules.errors import GANError
from gan_modules.families.latent import UnconditionalGAN
from gan_modules.functional import losses, regularizers
from gan_modules.networks import MLPDiscriminator, MLPGenerator, ResNetDiscriminator, ResNetGenerator


class WGANGP(UnconditionalGAN):
    """The game of a critic with a gradient penalty (arXiv:1704.00028), between ResNets or, on points, perceptrons.

    Args:
        image_shape: ``(C, H, W)``, square, with a power of two from 8 to 256; or ``(2,)`` for points.
        latent_dim: Size of the latent vector.
        base_channels: Channels of every residual block (images).
        hidden_dim: Units in each hidden layer (points).
        gp_weight: Weight of the gradient penalty (the paper's λ).
        lr_g: Learning rate of the generator.
        lr_d: Learning rate of the critic.
        betas: Adam's decay rates.
        n_critic: Moves of the critic a round.
        decay_rounds: Rounds over which both learning rates fall to 0 in a straight line; `None` keeps them.
        **options: See `gan_modules.GAN`.
    """

    def __init__(
        self,
        image_shape: Sequence[int] = (3, 32, 32),
        latent_dim: int = 128,
        base_channels: int = 128,
        hidden_dim: int = 512,
        gp_weight: float = 10.0,
        lr_g: float = 1e-4,
        lr_d: float = 1e-4,
        betas: tuple[float, float] = (0.0, 0.9),
        n_critic: int = 5,
        decay_rounds: int | None = None,
        **options: Unpack[GameOptions],
    ) -> None:
        if decay_rounds is not None and decay_rounds < 1:
            raise GANError(f"decay_rounds={decay_rounds} must be at least 1, or left out for constant learning rates.")
        generator: nn.Module
        critic: nn.Module
        if len(image_shape) == 1:
            generator = MLPGenerator(image_shape, latent_dim, hidden_dim)
            critic = MLPDiscriminator(image_shape, hidden_dim)
        else:
            generator = ResNetGenerator(image_shape, latent_dim, base_channels)
            critic = ResNetDiscriminator(image_shape, base_channels)
        super().__init__(
            generator=generator,
            discriminator=critic,
            image_shape=image_shape,
            latent_dim=latent_dim,
            optimizer_g=adam(lr_g, betas),
            optimizer_d=adam(lr_d, betas),
            n_critic=n_critic,
            schedule=None if decay_rounds is None else lambda round: max(0.0, 1.0 - round / decay_rounds),
            **options,
        )
        self.save_hyperparameters()
        self.gp_weight = gp_weight

    def discriminator_losses(self, real: Tensor, fake: Tensor) -> Losses:
        """The estimated distance with its sign turned, and the penalty (Eq. 3)."""
        penalty = regularizers.gradient_penalty(self.discriminator, real, fake, skip_zero_curvature=True)
        return {
            "critic": losses.wasserstein_d(self.discriminator(real), self.discriminator(fake)),
            "gradient_penalty": self.gp_weight * penalty,
        }

    def generator_losses(self, fake: Tensor) -> Losses:
        """The part of the distance that the generator can change."""
        return {"critic": losses.wasserstein_g(self.discriminator(fake))}
