"""SRGAN in miniature (arXiv:1609.04802): a translation between unlike sizes, with a content loss and no latents."""

from typing import Unpack

import by_hand
import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss, softplus

from gan_modules.engine.players import GameOptions, Phase, Player, adam
from gan_modules.families.capabilities import Translates, require
from gan_modules.families.translation import TranslationGAN
from gan_modules.functional import losses

LOW, HIGH = (1, 3, 3), (1, 6, 6)


class SRGAN(TranslationGAN):
    """Domain A has the low resolution, and domain B the high one."""

    def __init__(self, image_shape=LOW, target_shape=HIGH, adversarial=1e-1, lr=1e-2, **options: Unpack[GameOptions]):
        super().__init__(image_shape, target_shape, **options)
        channels, height, width = target_shape
        scale = height // image_shape[1]
        self.generator = nn.Sequential(
            nn.Conv2d(image_shape[0], channels * scale**2, 3, padding=1), nn.PixelShuffle(scale), nn.Tanh()
        )
        self.discriminator = nn.Sequential(
            nn.Conv2d(channels, 4, 3, padding=1), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(4 * height * width, 1)
        )
        self.track_average("generator")
        self.adversarial = adversarial
        self.optimizer = adam(lr, (0.5, 0.999))

    def translators(self, ema=False):
        return {"AtoB": self.averaged("generator", ema)}

    def players(self):
        return {
            "discriminator": Player(self.discriminator, self.optimizer),
            "generator": Player(self.generator, self.optimizer),
        }

    def phases(self):
        return [Phase("discriminator", self.discriminator_losses), Phase("generator", self.generator_losses)]

    def discriminator_losses(self, x):
        high, fake = x.real["BtoA"], x.fake["AtoB"]
        return {"minimax": losses.minimax_d(self.discriminator(high), self.discriminator(fake))}

    def generator_losses(self, x):
        high, fake = x.real["BtoA"], x.fake["AtoB"]
        adversarial = losses.non_saturating_g(self.discriminator(fake))
        return {"content": mse_loss(fake, high), "adversarial": self.adversarial * adversarial}


def batches(count=by_hand.STEPS):
    return list(zip(by_hand.reals(*LOW, count=count), by_hand.reals(*HIGH, count=count, seed=3), strict=True))


def by_pytorch(model, batches):
    g, d = by_hand.copies(model.generator, model.discriminator)
    adam_d, adam_g = by_hand.adam(d), by_hand.adam(g)
    for low, high in batches:
        by_hand.update(adam_d, softplus(-d(high)).mean() + softplus(d(g(low))).mean())
        fake = g(low)
        by_hand.update(adam_g, (fake - high).square().mean() + 0.1 * softplus(-d(fake)).mean())
    return g, d


@pytest.mark.parametrize("accumulate", [1, 3])
def test_it_trains_as_by_hand(accumulate):
    model = SRGAN(accumulate=accumulate)
    expected = by_pytorch(model, batches())
    by_hand.fit(model, batches())
    by_hand.assert_same([model.generator, model.discriminator], expected)


def test_it_translates_images_of_any_size():
    model = require(SRGAN(ema_half_life=50), Translates, "the test")
    by_hand.fit(model, batches())
    images = by_hand.reals(1, 5, 4)[0]
    translated = model.translate(images)
    assert translated.shape == (by_hand.SIZE, 1, 10, 8)
    assert torch.equal(translated, model.generator_ema(images).float())
    assert not torch.equal(translated, model.generator(images).float())
