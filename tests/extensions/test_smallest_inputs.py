"""The smallest inputs on which an earlier engine went wrong, mostly without a word."""

from typing import Unpack

import by_hand
import pytest
import torch
from torch.nn.functional import softplus

from gan_modules import GANError, VanillaGAN
from gan_modules.engine.players import GameOptions, Phase, Player, adam
from gan_modules.families.latent import LatentGAN
from gan_modules.functional import losses
from gan_modules.networks import MLPDiscriminator, MLPGenerator

LATENT = 3


class Plain(LatentGAN):
    """A game that saves no hyper-parameters by itself."""

    def __init__(self, hidden_dim=8, **options: Unpack[GameOptions]):
        super().__init__(
            MLPGenerator((2,), LATENT, hidden_dim),
            MLPDiscriminator((2,), hidden_dim),
            point_shape=(2,),
            latent_dim=LATENT,
            optimizer_g=adam(1e-2, (0.5, 0.999)),
            optimizer_d=adam(1e-2, (0.5, 0.999)),
            **options,
        )

    def discriminator_losses(self, x):
        return {"minimax": losses.minimax_d(self.logits(x.real), self.logits(x.fake))}

    def generator_losses(self, x):
        return {"adversarial": losses.non_saturating_g(self.logits(x.fake))}


class GeneratorTwice(Plain):
    def phases(self):
        return [*super().phases(), Phase("generator", self.generator_losses, name="again")]


class GeneratorTwiceFresh(Plain):
    def phases(self):
        return [*super().phases(), Phase("generator", self.generator_losses, fresh=True, name="again")]


class Simultaneous(Plain):
    def phases(self):
        objectives = {"discriminator": self.discriminator_losses, "generator": self.generator_losses}
        return [Phase(player, objective, simultaneous=True) for player, objective in objectives.items()]


class Relativistic(Plain):
    """Both objectives see reals and fakes (arXiv:2501.05441)."""

    def discriminator_losses(self, x):
        return {"relativistic": softplus(self.logits(x.fake) - self.logits(x.real)).mean()}

    def generator_losses(self, x):
        return {"relativistic": softplus(self.logits(x.real) - self.logits(x.fake)).mean()}


class Idle(Plain):
    """A player of whose parameters its loss knows nothing."""

    def phases(self):
        return [Phase("generator", lambda x: {"real": self.logits(x.real).mean()})]


class Undeclared(Plain):
    def players(self):
        return super().players() | {"both": Player((self.generator, self.discriminator), self.optimizer_g)}


class Blended(Plain):
    """A maker of which two players own a part each."""

    def players(self):
        *first, last = self.generator.layers
        return {
            "discriminator": Player(self.discriminator, self.optimizer_d),
            "first": Player(first, self.optimizer_g),
            "last": Player(last, self.optimizer_g),
        }

    def phases(self):
        discriminator = Phase("discriminator", self.discriminator_losses)
        return [discriminator, Phase("first", self.generator_losses), Phase("last", self.generator_losses)]


def batches(count=by_hand.STEPS):
    return [(x,) for x in by_hand.reals(2, count=count)]


def d_loss(d, x, fake):
    return softplus(-d(x)).mean() + softplus(d(fake)).mean()


def g_loss(d, fake):
    return softplus(-d(fake)).mean()


@pytest.mark.parametrize(("cls", "accumulate"), [(GeneratorTwice, 1), (GeneratorTwice, 3), (GeneratorTwiceFresh, 1)])
def test_the_generator_twice_a_step(cls, accumulate):
    model = cls(accumulate=accumulate)
    g, d = expected = by_hand.copies(model.generator, model.discriminator)
    adam_d, adam_g = by_hand.adam(d), by_hand.adam(g)
    fresh = cls is GeneratorTwiceFresh
    draws = by_hand.draws(by_hand.normal(LATENT), by_hand.STEPS * (1 + fresh))
    firsts, seconds = (draws[::2], draws[1::2]) if fresh else (draws, draws)
    for (x,), z, other in zip(batches(), firsts, seconds, strict=True):
        by_hand.update(adam_d, d_loss(d, x, g(z)))
        by_hand.update(adam_g, g_loss(d, g(z)))
        by_hand.update(adam_g, g_loss(d, g(other)))
    by_hand.fit(model, batches())
    by_hand.assert_same([model.generator, model.discriminator], expected)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_simultaneous_updates(accumulate):
    model = Simultaneous(accumulate=accumulate)
    g, d = expected = by_hand.copies(model.generator, model.discriminator)
    adam_d, adam_g = by_hand.adam(d), by_hand.adam(g)
    for (x,), z in zip(batches(), by_hand.draws(by_hand.normal(LATENT)), strict=True):
        slopes = torch.autograd.grad(g_loss(d, g(z)), list(g.parameters()))
        by_hand.update(adam_d, d_loss(d, x, g(z)))
        for parameter, slope in zip(g.parameters(), slopes, strict=True):
            parameter.grad = slope
        adam_g.step()
    by_hand.fit(model, batches())
    by_hand.assert_same([model.generator, model.discriminator], expected)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_generator_that_sees_reals(accumulate):
    model = Relativistic(accumulate=accumulate)
    g, d = expected = by_hand.copies(model.generator, model.discriminator)
    adam_d, adam_g = by_hand.adam(d), by_hand.adam(g)
    for (x,), z in zip(batches(), by_hand.draws(by_hand.normal(LATENT)), strict=True):
        by_hand.update(adam_d, softplus(d(g(z)) - d(x)).mean())
        by_hand.update(adam_g, softplus(d(x) - d(g(z))).mean())
    by_hand.fit(model, batches())
    by_hand.assert_same([model.generator, model.discriminator], expected)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_generator_of_two_players(accumulate):
    model = Blended(accumulate=accumulate)
    g, d = expected = by_hand.copies(model.generator, model.discriminator)
    adam_d, first, last = by_hand.adam(d), by_hand.adam(*g.layers[:-1]), by_hand.adam(g.layers[-1])
    for (x,), z in zip(batches(), by_hand.draws(by_hand.normal(LATENT)), strict=True):
        by_hand.update(adam_d, d_loss(d, x, g(z)))
        by_hand.update(first, g_loss(d, g(z)))
        by_hand.update(last, g_loss(d, g(z)))
    by_hand.fit(model, batches())
    by_hand.assert_same([model.generator, model.discriminator], expected)


def test_a_network_of_ones_own_is_averaged_and_sampled():
    model = VanillaGAN((1, 4, 4), LATENT, 8, lr_g=1e-2, ema_half_life=1.0)
    model.generator = MLPGenerator((1, 4, 4), LATENT, 16)
    by_hand.fit(model, [(x.float(),) for x in by_hand.reals(1, 4, 4)], precision=32)
    z = model.draw_latents(5, seed=0)
    assert torch.equal(model.sample(5, seed=0), model.generator_ema(z))
    # at a half-life of one image, a batch of seven leaves less than a hundredth of the older weights
    torch.testing.assert_close(model.sample(5, seed=0), model.sample(5, seed=0, ema=False), rtol=0, atol=0.02)


def test_arguments_are_saved_without_a_word(tmp_path):
    model = Plain(hidden_dim=5, ema_half_life=7.0)
    by_hand.fit(model, [(x.float(),) for (x,) in batches()], precision=32).save_checkpoint(tmp_path / "some.ckpt")
    loaded = Plain.load_from_checkpoint(tmp_path / "some.ckpt")
    assert dict(loaded.hparams) == dict(model.hparams)
    assert (loaded.hparams["hidden_dim"], loaded.hparams["ema_half_life"]) == (5, 7.0)
    assert torch.equal(loaded.sample(4, seed=0), model.sample(4, seed=0))


def test_a_loss_that_trains_nothing_is_refused():
    with pytest.raises(GANError, match="generator's loss depends on no parameter that the generator owns"):
        by_hand.fit(Idle(), batches())


def test_two_optimizers_for_one_parameter_are_refused():
    with pytest.raises(GANError, match="'generator' and 'both' own the same parameters"):
        by_hand.fit(Undeclared(), batches())


@pytest.mark.parametrize(("shape", "bounded"), [((1, 4), True), ((1, 2, 4, 4), True), ((1, 4, 4), True), ((2,), False)])
def test_samples_of_all_kinds_but_points_are_bounded(shape, bounded):
    generator = MLPGenerator(shape, LATENT, 8)
    assert bool((generator(1e4 * torch.randn(50, LATENT)).abs() <= 1).all()) is bounded
