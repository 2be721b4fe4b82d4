"""Unrolled GAN (arXiv:1611.02163): the generator looks ahead through updates of the discriminator."""

from typing import Unpack

import by_hand
import pytest
import torch
from torch.func import functional_call
from torch.nn.functional import softplus

from gan_modules.engine.players import adam
from gan_modules.families.latent import LatentGAN, LatentOptions
from gan_modules.functional import losses
from gan_modules.networks import MLPDiscriminator, MLPGenerator

LATENT, UNROLLED, INNER_LR = 3, 3, 0.1


class UnrolledGAN(LatentGAN):
    """The generator's loss is taken after `unrolled` further steps of the discriminator."""

    def __init__(
        self, point_shape=(2,), latent_dim=LATENT, unrolled=UNROLLED, lr=1e-2, **options: Unpack[LatentOptions]
    ):
        super().__init__(
            MLPGenerator(point_shape, latent_dim, 8),
            MLPDiscriminator(point_shape, 8),
            point_shape=point_shape,
            latent_dim=latent_dim,
            optimizer_g=adam(lr, (0.5, 0.999)),
            optimizer_d=adam(lr, (0.5, 0.999)),
            **options,
        )
        self.unrolled = unrolled

    def discriminator_losses(self, x):
        return {"minimax": losses.minimax_d(self.logits(x.real), self.logits(x.fake))}

    def generator_losses(self, x):
        weights = {name: p.detach().requires_grad_() for name, p in self.discriminator.named_parameters()}
        for _ in range(self.unrolled):
            real, fake = (functional_call(self.discriminator, weights, (samples,)) for samples in (x.real, x.fake))
            loss = losses.minimax_d(real, fake)
            gradients = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
            weights = {n: w - INNER_LR * g for (n, w), g in zip(weights.items(), gradients, strict=True)}
        return {"adversarial": losses.non_saturating_g(functional_call(self.discriminator, weights, (x.fake,)))}


def batches(count=by_hand.STEPS):
    return [(x,) for x in by_hand.reals(2, count=count)]


def perceptron(weights, x):
    """Return logits of samples by the discriminator's weights, layer by layer."""
    *hidden, last = zip(weights[::2], weights[1::2], strict=True)
    for weight, bias in hidden:
        x = torch.nn.functional.leaky_relu(x @ weight.T + bias, 0.2)
    return x @ last[0].T + last[1]


def by_pytorch(model, batches, latents, parts=1):
    g, d = by_hand.copies(model.generator, model.discriminator)
    adam_d, adam_g = by_hand.adam(d), by_hand.adam(g)
    for (x,), z in zip(batches, latents, strict=True):
        by_hand.update(adam_d, softplus(-d(x)).mean() + softplus(d(g(z))).mean())
        total = 0
        for real, noise in zip(x.chunk(parts), z.chunk(parts), strict=True):  # which look ahead each by itself
            fake, weights = g(noise), list(d.parameters())
            for _ in range(UNROLLED):
                loss = softplus(-perceptron(weights, real)).mean() + softplus(perceptron(weights, fake)).mean()
                steps = torch.autograd.grad(loss, weights, create_graph=True)
                weights = [weight - INNER_LR * step for weight, step in zip(weights, steps, strict=True)]
            total = total + softplus(-perceptron(weights, fake)).sum() / len(x)
        by_hand.update(adam_g, total)
    return g, d


@pytest.mark.parametrize("accumulate", [1, 3])
def test_it_trains_as_by_hand(accumulate):
    model = UnrolledGAN(accumulate=accumulate)
    expected = by_pytorch(model, batches(), by_hand.draws(by_hand.normal(LATENT)), accumulate)
    by_hand.fit(model, batches())
    by_hand.assert_same([model.generator, model.discriminator], expected)


def test_looking_ahead_matters():
    model = UnrolledGAN()
    blind = UnrolledGAN(unrolled=0)
    blind.load_state_dict(model.state_dict())
    for game in (model, blind):
        by_hand.fit(game, batches())
    assert not torch.allclose(model.generator.layers[0].weight, blind.generator.layers[0].weight, atol=1e-4)
