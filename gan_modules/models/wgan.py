"""Wasserstein GAN: Arjovsky, Chintala & Bottou, ICML 2017, arXiv:1701.07875.

The critic estimates the Earth Mover's distance between data and fakes (Eq. 2): it maximises E[f(x)] - E[f(G(z))] over
functions kept Lipschitz by clipping their weights (Algorithm 1). Its loss follows the quality of the samples.

=====================  =================================  ==================================
Departure              Paper                              Here
=====================  =================================  ==================================
critic's head start    none in Algorithm 1; in the        off; `warmup_rounds=25` has it
                       published code 100 moves in the
                       first 25 rounds and every 500th
clipping               before each move in the code       after each move, as in Algorithm 1
generator's fakes      drawn anew for its move            those the discriminator just judged
samples                the generator's                    its moving average's
=====================  =================================  ==================================
"""

from collections.abc import Sequence
from functools import partial
from typing import Unpack

import torch
from torch import Tensor, nn

from gan_modules.engine.players import GameOptions, Losses
from gan_modules.errors import GANError
from gan_modules.families.latent import UnconditionalGAN
from gan_modules.functional import losses
from gan_modules.networks import DCGANDiscriminator, DCGANGenerator, MLPDiscriminator, MLPGenerator

WARMUP_MOVES = 100  # of the critic, in the rounds in which the published code lets it run ahead
WARMUP_EVERY = 500  # rounds


class WGAN(UnconditionalGAN):
    """The game of a clipped critic (arXiv:1701.07875), between DCGAN's networks or, on points, perceptrons.

    Args:
        image_shape: ``(C, H, W)``, square, with a power of two from 8 to 256; or ``(2,)`` for points.
        latent_dim: Size of the latent vector.
        base_channels: Channels at half the image's size (images).
        hidden_dim: Units in each hidden layer (points).
        clip: Bound on the size of each of the critic's weights.
        lr_g: Learning rate of the generator.
        lr_d: Learning rate of the critic.
        n_critic: Moves of the critic a round.
        warmup_rounds: Rounds at the start in which the critic moves 100 times, as it then does every 500th round; 0
            for never.
        **options: See `gan_modules.GAN`.
    """

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
        warmup_rounds: int = 0,
        **options: Unpack[GameOptions],
    ) -> None:
        if clip <= 0:
            raise GANError(f"clip={clip} must be above 0: it bounds the critic's weights.")
        if warmup_rounds < 0:
            raise GANError(f"warmup_rounds={warmup_rounds} must be a number of rounds, or 0 for none.")
        generator: nn.Module
        critic: nn.Module
        if len(image_shape) == 1:
            generator = MLPGenerator(image_shape, latent_dim, hidden_dim)
            critic = MLPDiscriminator(image_shape, hidden_dim)
        else:
            generator = DCGANGenerator(image_shape, latent_dim, base_channels)
            critic = DCGANDiscriminator(image_shape, base_channels)
        super().__init__(
            generator=generator,
            discriminator=critic,
            image_shape=image_shape,
            latent_dim=latent_dim,
            optimizer_g=partial(torch.optim.RMSprop, lr=lr_g),
            optimizer_d=partial(torch.optim.RMSprop, lr=lr_d),
            n_critic=n_critic,
            **options,
        )
        self.save_hyperparameters()
        self.clip = clip
        self.warmup_rounds = warmup_rounds

    def critic_moves(self, round: int) -> int:
        """`n_critic`, or the head start of the published code."""
        ahead = self.warmup_rounds and (round < self.warmup_rounds or round % WARMUP_EVERY == 0)
        return WARMUP_MOVES if ahead else self.n_critic

    def discriminator_losses(self, real: Tensor, fake: Tensor) -> Losses:
        """The estimated distance with its sign turned (Eq. 2)."""
        return {"critic": losses.wasserstein_d(self.discriminator(real), self.discriminator(fake))}

    @torch.no_grad()
    def after_update(self, name: str) -> None:
        """Clip the critic's weights (Algorithm 1, line 7)."""
        if name == "discriminator":
            for parameter in self.discriminator.parameters():
                parameter.clamp_(-self.clip, self.clip)

    def generator_losses(self, fake: Tensor) -> Losses:
        """The part of the distance that the generator can change (Theorem 3)."""
        return {"critic": losses.wasserstein_g(self.discriminator(fake))}
