"""BiGAN (arXiv:1605.09782): a player that is not called "generator" and holds two networks; pairs (x, z)."""

import math
from typing import Unpack

import by_hand
import pytest
import torch
from torch import nn
from torch.nn.functional import softplus

from gan_modules.engine.players import Phase, Player, adam
from gan_modules.families.capabilities import Encodes, Judges, Samples, require
from gan_modules.families.encoding import EncodingMixin
from gan_modules.families.latent import LatentOptions
from gan_modules.functional import losses
from gan_modules.networks import MLPDiscriminator, MLPGenerator

SHAPE, LATENT = (1, 4, 4), 3


class BiGAN(EncodingMixin):
    """An encoder beside the generator, and a discriminator of pairs."""

    def __init__(self, image_shape=SHAPE, latent_dim=LATENT, hidden_dim=8, lr=1e-2, **options: Unpack[LatentOptions]):
        size = math.prod(image_shape)
        super().__init__(
            MLPGenerator(image_shape, latent_dim, hidden_dim),
            MLPDiscriminator((size + latent_dim,), hidden_dim),
            image_shape=image_shape,
            latent_dim=latent_dim,
            optimizer_g=adam(lr, (0.5, 0.999)),
            optimizer_d=adam(lr, (0.5, 0.999)),
            **options,
        )
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(size, latent_dim))
        self.track_average("encoder")

    def players(self):
        autoencoder = Player((self.generator, self.encoder), self.optimizer_g)
        return {"discriminator": Player(self.discriminator, self.optimizer_d), "autoencoder": autoencoder}

    def phases(self):
        return [Phase("discriminator", self.discriminator_losses), Phase("autoencoder", self.generator_losses)]

    def pair(self, samples, z):
        return self.discriminator(torch.cat([samples.flatten(1), z], dim=1))

    def pairs(self, x):
        return self.pair(self.augmented(x.real), self.encoder(x.real)), self.pair(self.augmented(x.fake), x.z)

    def discriminator_losses(self, x):
        return {"minimax": losses.minimax_d(*self.pairs(x))}

    def generator_losses(self, x):
        real, fake = self.pairs(x)
        return {"adversarial": losses.non_saturating_g(fake), "encoded": losses.non_saturating_g(-real)}

    def realness(self, samples, *condition):
        return self.pair(samples, self.encoder(samples))[:, 0]


def batches(count=by_hand.STEPS):
    return [(x,) for x in by_hand.reals(*SHAPE, count=count)]


class Mirror(nn.Module):
    def forward(self, x):
        return x.flip(3)


def by_pytorch(model, batches, latents, seen=lambda x: x):
    g, e, d = by_hand.copies(model.generator, model.encoder, model.discriminator)
    adam_d, adam_ge = by_hand.adam(d), by_hand.adam(g, e)
    for (x,), z in zip(batches, latents, strict=True):

        def pairs(x=x, z=z):
            return d(torch.cat([seen(x).flatten(1), e(x)], 1)), d(torch.cat([seen(g(z)).flatten(1), z], 1))

        real, fake = pairs()
        by_hand.update(adam_d, softplus(-real).mean() + softplus(fake).mean())
        real, fake = pairs()
        by_hand.update(adam_ge, softplus(real).mean() + softplus(-fake).mean())
    return g, e, d


@pytest.mark.parametrize("accumulate", [1, 3])
def test_it_trains_as_by_hand(accumulate):
    model = BiGAN(accumulate=accumulate)
    expected = by_pytorch(model, batches(), by_hand.draws(by_hand.normal(LATENT)))
    by_hand.fit(model, batches())
    by_hand.assert_same([model.generator, model.encoder, model.discriminator], expected)


def test_the_augmentation_is_for_the_discriminator_alone():
    model = BiGAN(augment=Mirror())
    expected = by_pytorch(model, batches(), by_hand.draws(by_hand.normal(LATENT)), Mirror())
    by_hand.fit(model, batches())
    by_hand.assert_same([model.generator, model.encoder, model.discriminator], expected)


def test_it_encodes_and_reconstructs():
    torch.manual_seed(0)
    model = require(BiGAN(), Encodes, "the test")
    by_hand.fit(model, [(x.float(),) for (x,) in batches()], precision=32)
    x = torch.cat(by_hand.reals(*SHAPE, count=10)).float()  # 70, more than are encoded at a time
    z = model.encode(x)
    torch.testing.assert_close(z, model.encoder_ema(x))
    torch.testing.assert_close(model.encode(x, ema=False), model.encoder(x))
    assert not torch.allclose(z, model.encoder(x))
    torch.testing.assert_close(model.reconstruct(x), model.generator_ema(z))
    torch.testing.assert_close(model.reconstruct(x[:1]), model.generator_ema(z[:1]))


def test_it_judges_pairs_and_samples():
    model = BiGAN()
    require(model, Samples, "the test")
    x = by_hand.reals(*SHAPE)[0].float()
    expected = model.discriminator(torch.cat([x.flatten(1), model.encoder(x)], 1)).squeeze(1)
    assert torch.equal(require(model, Judges, "the test").realness(x), expected)
