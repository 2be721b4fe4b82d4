"""InfoGAN (arXiv:1606.03657): a third player that shares parameters with both others; codes within the latents."""

from typing import Unpack

import by_hand
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, one_hot, softplus

from gan_modules import GANError
from gan_modules.engine.players import Phase, Player, adam
from gan_modules.families.latent import LatentGAN, LatentOptions
from gan_modules.functional import losses
from gan_modules.networks import MLPGenerator

SHAPE, CODES, NOISE = (1, 4, 4), 5, 3


class Heads(nn.Module):
    """Features of a sample, and the logits that a discriminator reads from them."""

    def __init__(self, size, features=8):
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(size, features), nn.LeakyReLU(0.2))
        self.head = nn.Linear(features, 1)

    def forward(self, x):
        return self.head(self.features(x))


class InfoGAN(LatentGAN):
    """One categorical code; the third player updates G, the discriminator's features and Q."""

    def __init__(self, image_shape=SHAPE, codes=CODES, noise_dim=NOISE, lr=1e-2, **options: Unpack[LatentOptions]):
        super().__init__(
            MLPGenerator(image_shape, codes + noise_dim, 8),
            Heads(image_shape[1] * image_shape[2]),
            image_shape=image_shape,
            latent_dim=codes + noise_dim,
            optimizer_g=adam(lr, (0.5, 0.999)),
            optimizer_d=adam(lr, (0.5, 0.999)),
            **options,
        )
        self.codes = codes
        self.q = nn.Linear(8, codes)

    def players(self):
        modules = (self.generator, self.discriminator.features, self.q)
        information = Player(modules, self.optimizer_g, shares=("discriminator", "generator"))
        return super().players() | {"information": information}

    def phases(self):
        return [*super().phases(), Phase("information", self.information_losses)]

    def prior(self, n):
        codes = one_hot(torch.randint(self.codes, (n,)), self.codes)
        return torch.cat([codes, torch.randn(n, self.latent_dim - self.codes)], dim=1)

    def discriminator_losses(self, x):
        return {"minimax": losses.minimax_d(self.logits(x.real), self.logits(x.fake))}

    def generator_losses(self, x):
        return {"adversarial": losses.non_saturating_g(self.logits(x.fake))}

    def information_losses(self, x):
        guesses = self.q(self.discriminator.features(x.fake))
        return {"code": cross_entropy(guesses, x.z[:, : self.codes].argmax(1))}


def batches(count=by_hand.STEPS):
    return [(x,) for x in by_hand.reals(*SHAPE, count=count)]


def prior(n):
    codes = torch.randint(CODES, (n,))
    return torch.cat([torch.eye(CODES)[codes], torch.randn(n, NOISE)], 1)


def by_pytorch(model, batches, latents):
    g, d, q = by_hand.copies(model.generator, model.discriminator, model.q)
    adam_d, adam_g, adam_i = by_hand.adam(d), by_hand.adam(g), by_hand.adam(g, d.features, q)
    for (x,), z in zip(batches, latents, strict=True):
        by_hand.update(adam_d, softplus(-d(x)).mean() + softplus(d(g(z))).mean())
        by_hand.update(adam_g, softplus(-d(g(z))).mean())
        by_hand.update(adam_i, cross_entropy(q(d.features(g(z))), z[:, :CODES].argmax(1)))
    return g, d, q


@pytest.mark.parametrize("accumulate", [1, 3])
def test_it_trains_as_by_hand(accumulate):
    model = InfoGAN(accumulate=accumulate)
    expected = by_pytorch(model, batches(), by_hand.draws(prior))
    by_hand.fit(model, batches())
    by_hand.assert_same([model.generator, model.discriminator, model.q], expected)


def test_samples_are_drawn_from_the_same_prior():
    model = InfoGAN()
    z = model.draw_latents(64, seed=3)
    torch.manual_seed(3)
    assert torch.equal(z, prior(64))
    assert torch.equal(model.sample(64, seed=3), model.generator_ema(z))


def test_shared_parameters_are_declared():
    class Undeclared(InfoGAN):
        def players(self):
            modules = (self.generator, self.discriminator.features, self.q)
            return super().players() | {"information": Player(modules, self.optimizer_g, shares=("generator",))}

    with pytest.raises(GANError, match=r"'discriminator' and 'information' own the same parameters"):
        by_hand.fit(Undeclared(), batches())
