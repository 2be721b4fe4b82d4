"""MAD-GAN (arXiv:1704.02906): K generators, and a discriminator that also names which of them made a sample."""

from typing import Unpack

import by_hand
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, one_hot

from gan_modules.engine.players import adam
from gan_modules.families.capabilities import Judges, require
from gan_modules.families.latent import LatentGAN, LatentOptions
from gan_modules.networks import MLPGenerator

K, NOISE = 3, 2


class Mixture(nn.Module):
    """K generators behind one forward: the first K numbers of a latent say which one makes the sample."""

    def __init__(self, components, point_shape, noise_dim):
        super().__init__()
        self.generators = nn.ModuleList(MLPGenerator(point_shape, noise_dim, 8) for _ in range(components))

    def forward(self, z):
        chosen, noise = z[:, : len(self.generators)].argmax(1), z[:, len(self.generators) :]
        return torch.stack([generator(noise) for generator in self.generators])[chosen, torch.arange(len(z))]


class MADGAN(LatentGAN):
    """Class K of the discriminator is "real", and class k < K is "by generator k"."""

    def __init__(self, point_shape=(2,), components=K, noise_dim=NOISE, lr=1e-2, **options: Unpack[LatentOptions]):
        super().__init__(
            Mixture(components, point_shape, noise_dim),
            nn.Sequential(nn.Linear(*point_shape, 16), nn.LeakyReLU(0.2), nn.Linear(16, components + 1)),
            point_shape=point_shape,
            latent_dim=components + noise_dim,
            optimizer_g=adam(lr, (0.5, 0.999)),
            optimizer_d=adam(lr, (0.5, 0.999)),
            **options,
        )
        self.components = components

    def prior(self, n):
        components = one_hot(torch.arange(n) % self.components, self.components)
        return torch.cat([components, torch.randn(n, self.latent_dim - self.components)], dim=1)

    def discriminator_losses(self, x):
        real = self.logits(x.real)
        made_by = x.z[:, : self.components].argmax(1)
        return {
            "real": cross_entropy(real, torch.full_like(made_by, self.components)),
            "fake": cross_entropy(self.logits(x.fake), made_by),
        }

    def generator_losses(self, x):
        return {"adversarial": -self.logits(x.fake).log_softmax(1)[:, self.components].mean()}

    def realness(self, samples, *condition):
        return self.discriminator(samples).log_softmax(1)[:, self.components]


def batches(count=by_hand.STEPS):
    return [(x,) for x in by_hand.reals(2, count=count)]


def prior(n):
    return torch.cat([torch.eye(K).repeat(n, 1)[:n], torch.randn(n, NOISE)], 1)


def by_pytorch(model, batches, latents):
    d, *generators = by_hand.copies(model.discriminator, *model.generator.generators)
    adam_d, adam_g = by_hand.adam(d), by_hand.adam(*generators)
    for (x,), z in zip(batches, latents, strict=True):
        component = z[:, :K].argmax(1)

        def fakes(z=z, component=component):
            return torch.cat([generators[k](row[None, K:]) for k, row in zip(component.tolist(), z, strict=True)])

        p_real, p_fake = d(x).softmax(1), d(fakes()).softmax(1)
        rows = torch.arange(len(z))
        by_hand.update(adam_d, -p_real[:, K].log().mean() - p_fake[rows, component].log().mean())
        by_hand.update(adam_g, -d(fakes()).softmax(1)[:, K].log().mean())
    return d, *generators


@pytest.mark.parametrize("accumulate", [1, 3])
def test_it_trains_as_by_hand(accumulate):
    model = MADGAN(accumulate=accumulate)
    expected = by_pytorch(model, batches(), by_hand.draws(prior))
    by_hand.fit(model, batches())
    by_hand.assert_same([model.discriminator, *model.generator.generators], expected)


def test_a_component_is_chosen_by_its_latents():
    model = MADGAN()
    z = model.draw_latents(6, seed=0)
    samples = model.sample(6, z=z)
    for k, generator in enumerate(model.generator_ema.generators):
        torch.testing.assert_close(samples[k::K], generator(z[k::K, K:]))


def test_realness_is_the_probability_of_real():
    model = MADGAN()
    x = by_hand.reals(2)[0].float()
    probability = model.discriminator(x).softmax(1)[:, K]
    torch.testing.assert_close(require(model, Judges, "the test").realness(x).exp(), probability)
