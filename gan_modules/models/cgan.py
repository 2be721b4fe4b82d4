"""Conditional Generative Adversarial Nets: Mirza & Osindero, 2014, arXiv:1411.1784.

The game of arXiv:1406.2661 in which both players are told the class y:
min_G max_D E[log D(x|y)] + E[log(1 - D(G(z|y)))] (Eq. 2). The label enters each perceptron as an embedding beside its
input.

=====================  =================================  ==================================
Departure              Paper                              Here
=====================  =================================  ==================================
optimizer              SGD with momentum and decay        Adam, as in most work since
labels                 own hidden layer before joining    one embedding beside the input
discriminator          maxout with dropout                LeakyReLU
generator's loss       minimax                            non-saturating
latents                uniform                            standard normal
generator's fakes      drawn anew for its move            those the discriminator just judged
samples                the generator's                    its moving average's
=====================  =================================  ==================================
"""

from collections.abc import Sequence
from typing import Unpack

from torch import Tensor

from gan_modules.engine.players import GameOptions, Losses, adam
from gan_modules.errors import GANError
from gan_modules.families.latent import ConditionalGAN
from gan_modules.functional import losses
from gan_modules.networks import MLPDiscriminator, MLPGenerator


class CGAN(ConditionalGAN):
    """The game with labels in both perceptrons (arXiv:1411.1784).

    Args:
        image_shape: ``(C, H, W)`` of an image of any size, or ``(2,)`` for points.
        num_classes: Number of classes.
        latent_dim: Size of the latent vector.
        hidden_dim: Units in each hidden layer.
        lr_g: Learning rate of the generator.
        lr_d: Learning rate of the discriminator.
        betas: Adam's decay rates.
        n_critic: Moves of the discriminator a round.
        **options: See `gan_modules.GAN`.
    """

    def __init__(
        self,
        image_shape: Sequence[int] = (1, 32, 32),
        num_classes: int = 10,
        latent_dim: int = 100,
        hidden_dim: int = 512,
        lr_g: float = 2e-4,
        lr_d: float = 2e-4,
        betas: tuple[float, float] = (0.5, 0.999),
        n_critic: int = 1,
        **options: Unpack[GameOptions],
    ) -> None:
        if num_classes < 1:
            raise GANError(f"CGAN needs at least one class, not num_classes={num_classes}: choose data with labels.")
        super().__init__(
            generator=MLPGenerator(image_shape, latent_dim, hidden_dim, num_classes=num_classes),
            discriminator=MLPDiscriminator(image_shape, hidden_dim, num_classes=num_classes),
            image_shape=image_shape,
            latent_dim=latent_dim,
            optimizer_g=adam(lr_g, betas),
            optimizer_d=adam(lr_d, betas),
            n_critic=n_critic,
            num_classes=num_classes,
            **options,
        )
        self.save_hyperparameters()

    def discriminator_losses(self, real: Tensor, fake: Tensor, labels: Tensor) -> Losses:
        """Eq. 2, which the discriminator maximises, with its sign turned."""
        return {"minimax": losses.minimax_d(self.discriminator(real, labels), self.discriminator(fake, labels))}

    def generator_losses(self, fake: Tensor, labels: Tensor) -> Losses:
        """Be taken for a real image of that class: -log D(G(z|y)|y)."""
        return {"adversarial": losses.non_saturating_g(self.discriminator(fake, labels))}
