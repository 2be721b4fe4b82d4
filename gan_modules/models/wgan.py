"""Wasserstein GAN: Arjovsky, Chintala & Bottou, ICML 2017, arXiv:1701.07875.

The critic estimates the Earth Mover's distance between data and fakes (Eq. 2): it maximises E[f(x)] - E[f(G(z))] over
functions kept Lipschitz by clipping their weights (Algorithm 1). Its loss follows the quality of the samples.

=====================  =================================  ==================================
Departure              Paper                              Here
=====================  =================================  ==================================
critic's head start    none in Algorithm 1; in the        off; `warmup_steps=25` has it
                       published code 100 updates in the
                       first 25 steps and every 500th
clipping               before each update in the code     after each update, as in Algorithm 1
generator's fakes      made again for its update          those the discriminator has just seen
samples                the generator's                    its moving average's
=====================  =================================  ==================================
"""

from collections.abc import Sequence
from functools import partial
from typing import Unpack

import torch
from torch import nn

from gan_modules.engine.inputs import Inputs
from gan_modules.engine.players import Losses, Phase
from gan_modules.errors import GANError
from gan_modules.families.latent import LatentGAN, LatentOptions
from gan_modules.functional import losses
from gan_modules.networks import DCGANDiscriminator, DCGANGenerator, MLPDiscriminator, MLPGenerator

WARMUP_UPDATES = 100  # of the critic, in the steps in which the published code lets it run ahead
WARMUP_EVERY = 500  # steps


class WGAN(LatentGAN):
    """The game of a clipped critic (arXiv:1701.07875), between DCGAN's networks or, on points, perceptrons.

    Args:
        image_shape: ``(C, H, W)``, square, with a power of two from 8 to 256.
        latent_dim: Size of the latent vector.
        base_channels: Channels at half the image's size (images).
        hidden_dim: Units in each hidden layer (points).
        clip: Bound on the size of each of the critic's weights.
        lr_g: Learning rate of the generator.
        lr_d: Learning rate of the critic.
        n_critic: Updates of the critic in a step.
        warmup_steps: Steps at the start in which the critic is updated 100 times, as it then is every 500th step; 0
            for never.
        point_shape: ``(D,)`` of a point, in place of an image.
        generator: Replaces the paper's generator: any network from latents ``(N, latent_dim)`` to samples.
        discriminator: Replaces the paper's discriminator: any network from samples to logits ``(N, 1)``.
        **options: See `gan_modules.families.latent.LatentGAN`.
    """

    paper = "Wasserstein GAN"
    arxiv = "1701.07875"
    year = 2017

    def __init__(
        self,
        image_shape: Sequence[int] = (3, 64, 64),
        latent_dim: int = 100,
        base_channels: int = 64,
        hidden_dim: int = 512,
        clip: float = 0.01,
        lr_g: float = 5e-5,
        lr_d: float = 5e-5,
        n_critic: int = 5,
        warmup_steps: int = 0,
        point_shape: Sequence[int] | None = None,
        generator: nn.Module | None = None,
        discriminator: nn.Module | None = None,
        **options: Unpack[LatentOptions],
    ) -> None:
        if clip <= 0:
            raise GANError(f"clip={clip} must be above 0: it bounds the critic's weights.")
        if warmup_steps < 0:
            raise GANError(f"warmup_steps={warmup_steps} must be a number of steps, or 0 for none.")
        if point_shape:
            generator = generator or MLPGenerator(point_shape, latent_dim, hidden_dim)
            discriminator = discriminator or MLPDiscriminator(point_shape, hidden_dim)
        else:
            generator = generator or DCGANGenerator(image_shape, latent_dim, base_channels)
            discriminator = discriminator or DCGANDiscriminator(image_shape, base_channels)
        super().__init__(
            generator,
            discriminator,
            image_shape=None if point_shape else image_shape,
            point_shape=point_shape,
            latent_dim=latent_dim,
            optimizer_g=partial(torch.optim.RMSprop, lr=lr_g),
            optimizer_d=partial(torch.optim.RMSprop, lr=lr_d),
            n_critic=n_critic,
            **options,
        )
        self.clip = clip
        self.warmup_steps = warmup_steps

    def critic_updates(self, step: int) -> int:
        """Return `n_critic`, or the head start of the published code."""
        ahead = self.warmup_steps and (step < self.warmup_steps or step % WARMUP_EVERY == 0)
        return WARMUP_UPDATES if ahead else self.n_critic

    def phases(self) -> list[Phase]:
        """Return the critic's phase, with its head start, and the generator's."""
        return [
            Phase("discriminator", self.discriminator_losses, repeats=self.critic_updates),
            Phase("generator", self.generator_losses),
        ]

    def discriminator_losses(self, x: Inputs) -> Losses:
        """Return the negated estimate of the distance (Eq. 2)."""
        return {"critic": losses.wasserstein_d(self.logits(x.real), self.logits(x.fake))}

    @torch.no_grad()
    def after_update(self, player: str) -> None:
        """Clip the critic's weights (Algorithm 1, line 7)."""
        if player == "discriminator":
            for parameter in self.discriminator.parameters():
                parameter.clamp_(-self.clip, self.clip)

    def generator_losses(self, x: Inputs) -> Losses:
        """Return the part of the distance that the generator can change (Theorem 3)."""
        return {"critic": losses.wasserstein_g(self.logits(x.fake))}
