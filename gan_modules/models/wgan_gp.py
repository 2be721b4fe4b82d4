"""Improved Training of Wasserstein GANs: Gulrajani et al., NeurIPS 2017, arXiv:1704.00028.

The critic of arXiv:1701.07875, kept Lipschitz by a penalty on the norm of its gradient between reals and fakes (Eq. 3)
instead of by clipping. The penalty is per sample, so the critic has no BatchNorm (Sec. 4).

=====================  =================================  ==================================
Departure              Paper                              Here
=====================  =================================  ==================================
toy networks           3 hidden ReLU layers of 512        LeakyReLU in the critic
learning rates         1e-4; 2e-4 decayed to 0 over       1e-4, constant; the ResNets' with
                       100k steps for CIFAR's ResNets     `lr_g=lr_d=2e-4, decay_steps=100_000`
residual up block      nearest upsampling before the      before the first, as in the published
                       second convolution                 code
sizes                  32×32 (ResNet)                     powers of two, by adding blocks
generator's fakes      made again for its update          those the discriminator has just seen
samples                the generator's                    its moving average's
=====================  =================================  ==================================
"""

import math
from collections.abc import Sequence
from typing import Unpack

from torch import nn

from gan_modules.engine.inputs import Inputs
from gan_modules.engine.players import Losses, adam
from gan_modules.errors import GANError
from gan_modules.families.latent import LatentGAN, LatentOptions
from gan_modules.functional import losses, regularizers
from gan_modules.networks import MLPDiscriminator, MLPGenerator, ResNetDiscriminator, ResNetGenerator


class WGANGP(LatentGAN):
    """The game of a critic with a gradient penalty (arXiv:1704.00028), between ResNets or, on points, perceptrons.

    Args:
        image_shape: ``(C, H, W)``, square, with a power of two from 8 to 256.
        latent_dim: Size of the latent vector.
        base_channels: Channels of every residual block (images).
        hidden_dim: Units in each hidden layer (points).
        gp_weight: Weight of the gradient penalty (the paper's λ).
        lr_g: Learning rate of the generator.
        lr_d: Learning rate of the critic.
        betas: Adam's decay rates.
        n_critic: Updates of the critic in a step.
        decay_steps: Steps over which both learning rates fall to 0 in a straight line; `None` keeps them.
        point_shape: ``(D,)`` of a point, in place of an image.
        generator: Replaces the paper's generator: any network from latents ``(N, latent_dim)`` to samples.
        discriminator: Replaces the paper's discriminator: any network from samples to logits ``(N, 1)``.
        **options: See `gan_modules.families.latent.LatentGAN`.
    """

    paper = "Improved Training of Wasserstein GANs"
    arxiv = "1704.00028"
    year = 2017

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
        decay_steps: int | None = None,
        point_shape: Sequence[int] | None = None,
        generator: nn.Module | None = None,
        discriminator: nn.Module | None = None,
        **options: Unpack[LatentOptions],
    ) -> None:
        if decay_steps is not None and decay_steps < 1:
            raise GANError(f"decay_steps={decay_steps} must be at least 1, or left out for constant learning rates.")
        if point_shape:
            generator = generator or MLPGenerator(point_shape, latent_dim, hidden_dim)
            discriminator = discriminator or MLPDiscriminator(point_shape, hidden_dim)
        else:
            generator = generator or ResNetGenerator(image_shape, latent_dim, base_channels)
            discriminator = discriminator or ResNetDiscriminator(image_shape, base_channels)
        super().__init__(
            generator,
            discriminator,
            image_shape=None if point_shape else image_shape,
            point_shape=point_shape,
            latent_dim=latent_dim,
            optimizer_g=adam(lr_g, betas),
            optimizer_d=adam(lr_d, betas),
            n_critic=n_critic,
            schedule=None if decay_steps is None else self.decay,
            **options,
        )
        self.gp_weight = gp_weight
        self.decay_steps = decay_steps

    def decay(self, step: int) -> float:
        """Return the factor on both learning rates, falling to 0 in a straight line."""
        return max(0.0, 1.0 - step / (self.decay_steps or math.inf))

    def discriminator_losses(self, x: Inputs) -> Losses:
        """Return the negated estimate of the distance, and the penalty (Eq. 3)."""
        distance = losses.wasserstein_d(self.logits(x.real), self.logits(x.fake))
        penalty = regularizers.gradient_penalty(self.logits, x.real, x.fake, skip_zero_curvature=True)
        return {"critic": distance, "gradient_penalty": self.gp_weight * penalty}

    def generator_losses(self, x: Inputs) -> Losses:
        """Return the part of the distance that the generator can change."""
        return {"critic": losses.wasserstein_g(self.logits(x.fake))}
