"""The code of docs/adding_a_model.md and docs/engine.md is run as it stands there, and compared with loops by hand."""

import re
from pathlib import Path

import by_hand
import pytest
import test_bigan
import test_conditions
import torch

from gan_modules import VanillaGAN
from gan_modules.families.capabilities import Encodes, require
from gan_modules.networks import MLPDiscriminator, MLPGenerator

DOCS = Path(__file__).parents[2] / "docs"
SHAPE, LATENT = (1, 4, 4), 3
SMALL = {"image_shape": SHAPE, "latent_dim": LATENT, "hidden_dim": 8}


def run(page):
    """Return the names that a page's blocks define, run one after the other."""
    names = {"__name__": page}
    for block in re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL):
        exec(compile(block, page, "exec"), names)
    return names


@pytest.fixture(scope="module")
def models():
    return run("adding_a_model.md")


def test_the_loss_of_your_own(models):
    model = models["LSGAN"](**SMALL, lr=1e-2)
    g, d = expected = by_hand.copies(model.generator, model.discriminator)
    adam_d, adam_g = by_hand.adam(d), by_hand.adam(g)
    batches = test_bigan.batches()
    for (x,), z in zip(batches, by_hand.draws(by_hand.normal(LATENT)), strict=True):
        by_hand.update(adam_d, ((d(x) - 1) ** 2).mean() / 2 + (d(g(z)) ** 2).mean() / 2)
        by_hand.update(adam_g, ((d(g(z)) - 1) ** 2).mean() / 2)
    by_hand.fit(model, batches)
    by_hand.assert_same([model.generator, model.discriminator], expected)


def test_the_second_head(models):
    model = models["ACGAN"](**SMALL, num_classes=test_conditions.CLASSES, lr=1e-2)
    batches, latents = test_conditions.batches(), by_hand.draws(by_hand.normal(LATENT))
    expected = test_conditions.acgan_by_pytorch(model, batches, latents)
    by_hand.fit(model, batches)
    by_hand.assert_same([model.generator, model.discriminator, model.classifier], expected)
    x, labels = batches[0]
    assert torch.equal(model.realness(x, labels), model.discriminator(x).squeeze(1))


def test_the_other_players(models):
    model = models["BiGAN"](**SMALL, lr=1e-2)
    expected = test_bigan.by_pytorch(model, test_bigan.batches(), by_hand.draws(by_hand.normal(LATENT)))
    by_hand.fit(model, test_bigan.batches())
    by_hand.assert_same([model.generator, model.encoder, model.discriminator], expected)
    (x,) = test_bigan.batches()[0]
    torch.testing.assert_close(require(model, Encodes, "the page").encode(x), model.encoder_ema(x).float())


@pytest.mark.parametrize("name", ["LSGAN", "ACGAN", "BiGAN"])
def test_the_defaults_make_a_model(models, name):
    model = models[name]()
    assert model.sample(2, seed=0).shape == (2, 1, 32, 32)
    assert model.hparams["lr"] == 2e-4


def test_the_loop_in_any_module():
    mine = run("engine.md")["Mine"](MLPGenerator(SHAPE, LATENT, 8), MLPDiscriminator(SHAPE, 8), LATENT)
    ours = VanillaGAN(SHAPE, LATENT, 8, accumulate=2, clip_norm=1.0, ema_half_life=0)
    ours.load_state_dict(mine.state_dict())
    for model in (mine, ours):
        by_hand.fit(model, test_bigan.batches())
    torch.testing.assert_close(mine.state_dict(), ours.state_dict(), rtol=0, atol=1e-12)
