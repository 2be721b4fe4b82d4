"""Conditional Generative Adversarial Nets: Mirza & Osindero, 2014, arXiv:1411.1784.

The game of arXiv:1406.2661 in which both networks take the class y:
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
generator's fakes      made again for its update          those the discriminator has just seen
samples                the generator's                    its moving average's
=====================  =================================  ==================================
"""

from collections.abc import Sequence
from typing import Unpack

from torch import nn

from gan_modules.engine.inputs import Inputs
from gan_modules.engine.players import Losses, adam
from gan_modules.errors import GANError
from gan_modules.families.latent import LatentGAN, LatentOptions
from gan_modules.functional import losses
from gan_modules.networks import MLPDiscriminator, MLPGenerator


class CGAN(LatentGAN):
    """The game with labels in both perceptrons (arXiv:1411.1784).

    Args:
        image_shape: ``(C, H, W)`` of an image of any size.
        num_classes: Number of classes.
        latent_dim: Size of the latent vector.
        hidden_dim: Units in each hidden layer.
        lr_g: Learning rate of the generator.
        lr_d: Learning rate of the discriminator.
        betas: Adam's decay rates.
        n_critic: Updates of the discriminator in a step.
        point_shape: ``(D,)`` of a point, in place of an image.
        generator: Replaces the paper's generator: any network from latents ``(N, latent_dim)`` and labels
            ``(N,)`` to samples.
        discriminator: Replaces the paper's discriminator: any network from samples and labels ``(N,)`` to logits
            ``(N, 1)``.
        **options: See `gan_modules.families.latent.LatentGAN`.
    """

    paper = "Conditional Generative Adversarial Nets"
    arxiv = "1411.1784"
    year = 2014

    generator_is_conditional = True
    discriminator_is_conditional = True

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
        point_shape: Sequence[int] | None = None,
        generator: nn.Module | None = None,
        discriminator: nn.Module | None = None,
        **options: Unpack[LatentOptions],
    ) -> None:
        if num_classes < 1:
            raise GANError(f"CGAN needs at least one class, not num_classes={num_classes}: choose data with labels.")
        shape = point_shape or image_shape
        super().__init__(
            generator=generator or MLPGenerator(shape, latent_dim, hidden_dim, num_classes=num_classes),
            discriminator=discriminator or MLPDiscriminator(shape, hidden_dim, num_classes=num_classes),
            image_shape=None if point_shape else image_shape,
            point_shape=point_shape,
            latent_dim=latent_dim,
            optimizer_g=adam(lr_g, betas),
            optimizer_d=adam(lr_d, betas),
            n_critic=n_critic,
            num_classes=num_classes,
            **options,
        )

    def discriminator_losses(self, x: Inputs) -> Losses:
        """Return the negated value of the game, which the discriminator maximises (Eq. 2)."""
        real, fake = self.logits(x.real, *x.condition), self.logits(x.fake, *x.condition)
        return {"minimax": losses.minimax_d(real, fake)}

    def generator_losses(self, x: Inputs) -> Losses:
        """Return -log D(G(z|y)|y)."""
        return {"adversarial": losses.non_saturating_g(self.logits(x.fake, *x.condition))}
