"""WaveGAN in miniature (arXiv:1802.04208): sounds (1, T), one-dimensional convolutions, WGAN-GP's game."""

from typing import Unpack

import by_hand
import pytest
import torch
from torch import nn

from gan_modules import GANError
from gan_modules.engine.players import adam
from gan_modules.families.latent import LatentGAN, LatentOptions
from gan_modules.functional import losses, regularizers

SHAPE, LATENT, CRITIC = (1, 32), 3, 2


class WaveGAN(LatentGAN):
    """The game of a critic with a gradient penalty, on sounds."""

    def __init__(
        self, audio_shape=SHAPE, latent_dim=LATENT, n_critic=CRITIC, lr=1e-2, **options: Unpack[LatentOptions]
    ):
        channels, length = audio_shape
        super().__init__(
            nn.Sequential(
                nn.Linear(latent_dim, 4 * length // 4),
                nn.Unflatten(1, (4, length // 4)),
                nn.ReLU(),
                nn.ConvTranspose1d(4, channels, 8, stride=4, padding=2),
                nn.Tanh(),
            ),
            nn.Sequential(
                nn.Conv1d(channels, 4, 8, stride=4, padding=2), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(length, 1)
            ),
            audio_shape=audio_shape,
            latent_dim=latent_dim,
            optimizer_g=adam(lr, (0.5, 0.999)),
            optimizer_d=adam(lr, (0.5, 0.999)),
            n_critic=n_critic,
            **options,
        )

    def discriminator_losses(self, x):
        distance = losses.wasserstein_d(self.logits(x.real), self.logits(x.fake))
        return {"critic": distance, "penalty": 10 * regularizers.r1(self.logits, x.real)}

    def generator_losses(self, x):
        return {"critic": losses.wasserstein_g(self.logits(x.fake))}


def batches(count=CRITIC * by_hand.STEPS):
    return [(x,) for x in by_hand.reals(*SHAPE, count=count)]


def by_pytorch(model, batches, latents):
    g, d = by_hand.copies(model.generator, model.discriminator)
    adam_d, adam_g = by_hand.adam(d), by_hand.adam(g)
    for index, ((x,), z) in enumerate(zip(batches, latents, strict=True)):
        x = x.requires_grad_()
        logits = d(x)
        (slope,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
        penalty = slope.square().sum((1, 2)).mean()
        by_hand.update(adam_d, d(g(z)).mean() - logits.mean() + 10 * penalty / 2)
        if index % CRITIC == CRITIC - 1:
            by_hand.update(adam_g, -d(g(z)).mean())
    return g, d


@pytest.mark.parametrize("accumulate", [1, 3])
def test_it_trains_as_by_hand(accumulate):
    model = WaveGAN(accumulate=accumulate)
    expected = by_pytorch(model, batches(), by_hand.draws(by_hand.normal(LATENT), CRITIC * by_hand.STEPS))
    trainer = by_hand.fit(model, batches())
    by_hand.assert_same([model.generator, model.discriminator], expected)
    assert trainer.global_step == by_hand.STEPS
    assert model.images_seen == CRITIC * by_hand.STEPS * by_hand.SIZE


def test_it_knows_what_it_makes():
    model = WaveGAN()
    assert (model.kind, model.sample_shape, model.image_shape) == ("audio", SHAPE, None)
    z = model.draw_latents(5, seed=1)
    assert torch.equal(model.sample(5, seed=1), model.generator_ema(z))


def test_whole_numbers_are_refused_with_the_factor_of_sounds():
    with pytest.raises(GANError, match="x / 32768"):
        by_hand.fit(WaveGAN(), [(torch.zeros(4, *SHAPE, dtype=torch.int16),)])
