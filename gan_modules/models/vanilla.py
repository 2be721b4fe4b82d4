"""Generative Adversarial Networks: Goodfellow et al., NeurIPS 2014, arXiv:1406.2661.

A generator and a discriminator play min_G max_D E[log D(x)] + E[log(1 - D(G(z)))] (Eq. 1). At the optimum of the inner
game D is p_data / (p_data + p_g), and G minimises the Jensen-Shannon divergence.

=====================  =================================  ==================================
Departure              Paper                              Here
=====================  =================================  ==================================
optimizer              SGD with momentum                  Adam, as in most work since
discriminator          maxout with dropout                LeakyReLU
latents                uniform                            standard normal
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
from gan_modules.networks import MLPDiscriminator, MLPGenerator


class VanillaGAN(UnconditionalGAN):
    """The original game between two perceptrons (arXiv:1406.2661).

    Args:
        image_shape: ``(C, H, W)`` of an image of any size, or ``(2,)`` for points.
        latent_dim: Size of the latent vector.
        hidden_dim: Units in each hidden layer.
        saturating: Whether the generator minimises log(1 - D(G(z))), the game of Eq. 1, instead of -log D(G(z)), which
            has the same fixed point but stronger gradients early on (Sec. 3).
        lr_g: Learning rate of the generator.
        lr_d: Learning rate of the discriminator.
        betas: Adam's decay rates.
        n_critic: Moves of the discriminator a round (the paper's k).
        **options: See `gan_modules.GAN`.
    """

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
        **options: Unpack[GameOptions],
    ) -> None:
        super().__init__(
            generator=MLPGenerator(image_shape, latent_dim, hidden_dim),
            discriminator=MLPDiscriminator(image_shape, hidden_dim),
            image_shape=image_shape,
            latent_dim=latent_dim,
            optimizer_g=adam(lr_g, betas),
            optimizer_d=adam(lr_d, betas),
            n_critic=n_critic,
            **options,
        )
        self.save_hyperparameters()
        self.saturating = saturating

    def discriminator_losses(self, real: Tensor, fake: Tensor) -> Losses:
        """Eq. 1, which the discriminator maximises, with its sign turned."""
        return {"minimax": losses.minimax_d(self.discriminator(real), self.discriminator(fake))}

    def generator_losses(self, fake: Tensor) -> Losses:
        """Eq. 1 as it stands, or the non-saturating form of Sec. 3."""
        logits = self.discriminator(fake)
        return {"adversarial": losses.minimax_g(logits) if self.saturating else losses.non_saturating_g(logits)}
