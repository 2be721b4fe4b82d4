"""Generative Adversarial Networks: Goodfellow et al., NeurIPS 2014, arXiv:1406.2661.

A generator and a discriminator play min_G max_D E[log D(x)] + E[log(1 - D(G(z)))] (Eq. 1). At the optimum of the inner
game D is p_data / (p_data + p_g), and G minimises the Jensen-Shannon divergence.

=====================  =================================  ==================================
Departure              Paper                              Here
=====================  =================================  ==================================
optimizer              SGD with momentum                  Adam, as in most work since
discriminator          maxout with dropout                LeakyReLU
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
from gan_modules.families.latent import LatentGAN, LatentOptions
from gan_modules.functional import losses
from gan_modules.networks import MLPDiscriminator, MLPGenerator


class VanillaGAN(LatentGAN):
    """The original game between two perceptrons (arXiv:1406.2661).

    Args:
        image_shape: ``(C, H, W)`` of an image of any size.
        latent_dim: Size of the latent vector.
        hidden_dim: Units in each hidden layer.
        saturating: Whether the generator minimises log(1 - D(G(z))), the game of Eq. 1, instead of -log D(G(z)), which
            has the same fixed point but stronger gradients early on (Sec. 3).
        lr_g: Learning rate of the generator.
        lr_d: Learning rate of the discriminator.
        betas: Adam's decay rates.
        n_critic: Updates of the discriminator in a step (the paper's k).
        point_shape: ``(D,)`` of a point, in place of an image.
        generator: Replaces the paper's generator: any network from latents ``(N, latent_dim)`` to samples.
        discriminator: Replaces the paper's discriminator: any network from samples to logits ``(N, 1)``.
        **options: See `gan_modules.families.latent.LatentGAN`.
    """

    paper = "Generative Adversarial Networks"
    arxiv = "1406.2661"
    year = 2014

    def __init__(
        self,
        image_shape: Sequence[int] = (1, 32, 32),
        latent_dim: int = 100,
        hidden_dim: int = 512,
        saturating: bool = False,
        lr_g: float = 2e-4,
        lr_d: float = 2e-4,
        betas: tuple[float, float] = (0.5, 0.999),
        n_critic: int = 1,
        point_shape: Sequence[int] | None = None,
        generator: nn.Module | None = None,
        discriminator: nn.Module | None = None,
        **options: Unpack[LatentOptions],
    ) -> None:
        shape = point_shape or image_shape
        super().__init__(
            generator=generator or MLPGenerator(shape, latent_dim, hidden_dim),
            discriminator=discriminator or MLPDiscriminator(shape, hidden_dim),
            image_shape=None if point_shape else image_shape,
            point_shape=point_shape,
            latent_dim=latent_dim,
            optimizer_g=adam(lr_g, betas),
            optimizer_d=adam(lr_d, betas),
            n_critic=n_critic,
            **options,
        )
        self.saturating = saturating

    def discriminator_losses(self, x: Inputs) -> Losses:
        """Return the negated value of the game, which the discriminator maximises (Eq. 1)."""
        return {"minimax": losses.minimax_d(self.logits(x.real), self.logits(x.fake))}

    def generator_losses(self, x: Inputs) -> Losses:
        """Return the value of the game (Eq. 1), or its non-saturating form (Sec. 3)."""
        logits = self.logits(x.fake)
        return {"adversarial": losses.minimax_g(logits) if self.saturating else losses.non_saturating_g(logits)}
