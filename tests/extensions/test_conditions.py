"""AC-GAN (arXiv:1610.09585), SGAN (arXiv:1606.01583): labels for both networks, and for the discriminator alone."""

import math
from typing import Unpack

import by_hand
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, softplus

from gan_modules import GANError
from gan_modules.engine.players import Player, adam
from gan_modules.families.latent import LatentGAN, LatentOptions
from gan_modules.functional import losses
from gan_modules.networks import MLPDiscriminator, MLPGenerator

SHAPE, LATENT, CLASSES = (1, 4, 4), 3, 4


class ACGAN(LatentGAN):
    """The discriminator takes no label: a second head names the class."""

    generator_is_conditional = True

    def __init__(self, image_shape=SHAPE, num_classes=CLASSES, latent_dim=LATENT, **options: Unpack[LatentOptions]):
        super().__init__(
            MLPGenerator(image_shape, latent_dim, 8, num_classes=num_classes),
            MLPDiscriminator(image_shape, 8),
            image_shape=image_shape,
            num_classes=num_classes,
            latent_dim=latent_dim,
            optimizer_g=adam(1e-2, (0.5, 0.999)),
            optimizer_d=adam(1e-2, (0.5, 0.999)),
            **options,
        )
        self.classifier = nn.Linear(8, num_classes)

    def players(self):
        return super().players() | {"discriminator": Player((self.discriminator, self.classifier), self.optimizer_d)}

    def class_loss(self, samples, labels):
        features = self.discriminator.features(self.augmented(samples))
        return cross_entropy(self.classifier(features), labels)

    def discriminator_losses(self, x):
        classes = self.class_loss(x.real, *x.condition) + self.class_loss(x.fake, *x.condition)
        return {"minimax": losses.minimax_d(self.logits(x.real), self.logits(x.fake)), "class": classes}

    def generator_losses(self, x):
        adversarial = losses.non_saturating_g(self.logits(x.fake))
        return {"adversarial": adversarial, "class": self.class_loss(x.fake, *x.condition)}


class SGAN(LatentGAN):
    """Class K of the discriminator is "fake"; the generator knows no labels."""

    def __init__(self, image_shape=SHAPE, num_classes=CLASSES, latent_dim=LATENT, **options: Unpack[LatentOptions]):
        super().__init__(
            MLPGenerator(image_shape, latent_dim, 8),
            nn.Sequential(nn.Flatten(), nn.Linear(math.prod(image_shape), num_classes + 1)),
            image_shape=image_shape,
            num_classes=num_classes,
            latent_dim=latent_dim,
            optimizer_g=adam(1e-2, (0.5, 0.999)),
            optimizer_d=adam(1e-2, (0.5, 0.999)),
            **options,
        )

    def discriminator_losses(self, x):
        (labels,) = x.condition
        fake = torch.full_like(labels, self.num_classes)
        return {"class": cross_entropy(self.logits(x.real), labels), "fake": cross_entropy(self.logits(x.fake), fake)}

    def generator_losses(self, x):
        return {"adversarial": -softplus(-self.fakeness(self.logits(x.fake))).mean()}

    def fakeness(self, logits):
        return logits[:, -1] - logits[:, :-1].logsumexp(1)

    def realness(self, samples, *condition):
        return -self.fakeness(self.discriminator(samples))


def batches(count=by_hand.STEPS):
    return list(zip(by_hand.reals(*SHAPE, count=count), by_hand.integers(CLASSES, count=count), strict=True))


def acgan_by_pytorch(model, batches, latents):
    g, d, c = by_hand.copies(model.generator, model.discriminator, model.classifier)
    adam_d, adam_g = by_hand.adam(d, c), by_hand.adam(g)

    def heads(samples):
        features = d.layers[:-1](samples.flatten(1))
        return d.layers[-1](features), c(features)

    for (x, y), z in zip(batches, latents, strict=True):
        (real, real_class), (fake, fake_class) = heads(x), heads(g(z, y))
        classes = cross_entropy(real_class, y) + cross_entropy(fake_class, y)
        by_hand.update(adam_d, softplus(-real).mean() + softplus(fake).mean() + classes)
        fake, fake_class = heads(g(z, y))
        by_hand.update(adam_g, softplus(-fake).mean() + cross_entropy(fake_class, y))
    return g, d, c


@pytest.mark.parametrize("accumulate", [1, 3])
def test_acgan_trains_as_by_hand(accumulate):
    model = ACGAN(accumulate=accumulate)
    expected = acgan_by_pytorch(model, batches(), by_hand.draws(by_hand.normal(LATENT)))
    by_hand.fit(model, batches())
    by_hand.assert_same([model.generator, model.discriminator, model.classifier], expected)
    labels = torch.tensor([2, 0])
    z = model.draw_latents(2, seed=0)
    assert torch.equal(model.sample(2, labels=labels, seed=0), model.generator_ema(z.double(), labels).float())


@pytest.mark.parametrize("accumulate", [1, 3])
def test_sgan_trains_as_by_hand(accumulate):
    model = SGAN(accumulate=accumulate)
    g, d = expected = by_hand.copies(model.generator, model.discriminator)
    adam_d, adam_g = by_hand.adam(d), by_hand.adam(g)
    for (x, y), z in zip(batches(), by_hand.draws(by_hand.normal(LATENT)), strict=True):
        rows = torch.arange(len(x))
        real, fake = d(x).softmax(1), d(g(z)).softmax(1)
        by_hand.update(adam_d, -real[rows, y].log().mean() - fake[:, CLASSES].log().mean())
        by_hand.update(adam_g, d(g(z)).softmax(1)[:, CLASSES].log().mean())
    by_hand.fit(model, batches())
    by_hand.assert_same([model.generator, model.discriminator], expected)


def test_a_generator_without_labels_takes_none():
    model = SGAN()
    x, y = batches()[0]
    expected = model.generator_ema(model.draw_latents(by_hand.SIZE, seed=2))
    assert torch.equal(model.sample(by_hand.SIZE, seed=2), expected)
    assert torch.equal(model.sample_like((x, y), seed=2), expected)
    with pytest.raises(GANError, match="SGAN generates without labels: leave labels out"):
        model.sample(4, labels=1)
    real = 1 - model.discriminator(x.float()).softmax(1)[:, CLASSES]
    torch.testing.assert_close(model.realness(x.float(), y).sigmoid(), real)
