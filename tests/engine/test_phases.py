"""When phases are played, how lazy ones correct Adam, and updates at one point."""

import copy
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.functional import softplus

from gan_modules import GANError
from gan_modules.engine.players import Phase, Player
from gan_modules.families.latent import LatentGAN

descent = partial(torch.optim.SGD, lr=0.3)


class Game(LatentGAN):
    """A small game on points whose phases are given by the test; it notes which are played on which batch."""

    def __init__(self, rules=(), optimizer=descent, **options):
        critic = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))
        sizes = {"point_shape": (2,), "latent_dim": 2, "ema_half_life": 0}
        super().__init__(nn.Linear(2, 2), critic, optimizer_g=optimizer, optimizer_d=optimizer, **sizes, **options)
        self.rules = rules
        self.played = []  # (step, batch, phase)
        self.updated = []
        self.batches = -1

    def phases(self):
        return [
            Phase(player, partial(self.noted, name or player), name=name, **options)
            for player, name, options in self.rules
        ]

    def inputs(self, batch):
        self.batches += 1
        return super().inputs(batch)

    def noted(self, name, x):
        self.played.append((self.trainer.global_step, self.batches, name))
        if name == "empty":
            return {}
        return self.discriminator_losses(x) if name != "generator" else self.generator_losses(x)

    def discriminator_losses(self, x):
        return {"minimax": softplus(-self.logits(x.real)).mean() + softplus(self.logits(x.fake)).mean()}

    def generator_losses(self, x):
        return {"adversarial": softplus(-self.logits(x.fake)).mean()}

    def after_update(self, player):
        self.updated.append(player)


def test_phases_are_due_every_so_many_steps(fit, noise_batches):
    rules = [("discriminator", "", {}), ("discriminator", "r1", {"every": 3}), ("generator", "", {"every": 2})]
    model = Game(rules)
    trainer = fit(model, noise_batches(7, (2,)), max_steps=7)
    steps = {name: [step for step, _, played in model.played if played == name] for *_, name in model.played}
    assert steps == {"discriminator": list(range(7)), "r1": [0, 3, 6], "generator": [0, 2, 4, 6]}
    assert trainer.global_step == 7
    assert model.images_seen == 7 * 6


def test_repeats_are_played_on_the_last_batches_of_a_step(fit, noise_batches):
    rules = [
        ("discriminator", "", {"repeats": lambda step: 4 if step == 0 else 2}),
        ("generator", "", {}),
        ("discriminator", "twice", {"repeats": 2, "every": 2}),
    ]
    model = Game(rules)
    trainer = fit(model, noise_batches(9, (2,)), max_steps=3)
    expected = [(0, 0, "discriminator"), (0, 1, "discriminator"), (0, 2, "discriminator"), (0, 2, "twice")]
    expected += [(0, 3, "discriminator"), (0, 3, "generator"), (0, 3, "twice")]
    expected += [(1, 4, "discriminator"), (1, 5, "discriminator"), (1, 5, "generator")]
    expected += [(2, 6, "discriminator"), (2, 6, "twice")]
    expected += [(2, 7, "discriminator"), (2, 7, "generator"), (2, 7, "twice")]
    assert model.played == expected
    assert trainer.global_step == 3
    assert model.images_seen == 8 * 6


def test_a_step_in_which_nothing_is_due_passes(fit, noise_batches):
    model = Game([("discriminator", "", {"every": 2}), ("generator", "", {"every": 2})])
    trainer = fit(model, noise_batches(4, (2,)), max_steps=4)
    assert [step for step, *_ in model.played] == [0, 0, 2, 2]
    assert trainer.global_step == 4


@pytest.mark.parametrize(
    ("intervals", "factor"),
    [
        ((1,), 1),
        ((1, 4), 4 / 5),  # App. B: k / (k + 1)
        ((1, 16), 16 / 17),
        ((1, 4, 16), 1 / (1 + 1 / 4 + 1 / 16)),
        ((1, 1, 4), 2 / (2 + 1 / 4)),
        ((4,), 1),  # nothing is lazy where nothing is regular
    ],
)
def test_adam_is_corrected_for_lazy_phases(intervals, factor):
    rules = [("discriminator", f"{index}", {"every": every}) for index, every in enumerate(intervals)]
    model = Game([*rules, ("generator", "", {})], partial(torch.optim.Adam, lr=0.02, betas=(0.5, 0.99)))
    (lazy, regular), _ = model.configure_optimizers()
    (group,) = lazy.param_groups
    assert group["lr"] == pytest.approx(0.02 * factor, rel=1e-12)
    assert group["betas"] == pytest.approx((0.5**factor, 0.99**factor), rel=1e-12)
    assert group["eps"] == 1e-8
    (group,) = regular.param_groups
    assert (group["lr"], group["betas"]) == (0.02, (0.5, 0.99))


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.RMSprop])
def test_optimizers_without_decay_rates_stay_as_they_are(optimizer):
    rules = [("discriminator", "", {}), ("discriminator", "r1", {"every": 4}), ("generator", "", {})]
    (lazy, regular), _ = Game(rules, partial(optimizer, lr=0.02)).configure_optimizers()
    assert lazy.param_groups[0]["lr"] == regular.param_groups[0]["lr"] == 0.02


def play_by_hand(model, batches, simultaneous):
    generator, discriminator = copy.deepcopy(model.generator), copy.deepcopy(model.discriminator)
    step_g, step_d = (torch.optim.SGD(net.parameters(), 0.3) for net in (generator, discriminator))
    torch.manual_seed(5)
    for (real,) in batches:
        real, z = real.double(), torch.randn(len(real), 2, dtype=torch.float64)
        fake = generator(z)
        loss_d = softplus(-discriminator(real)).mean() + softplus(discriminator(fake.detach())).mean()
        step_d.zero_grad()
        loss_d.backward()
        if not simultaneous:
            step_d.step()
        inputs = list(generator.parameters())
        gradients = torch.autograd.grad(softplus(-discriminator(fake)).mean(), inputs)
        for parameter, gradient in zip(inputs, gradients, strict=True):
            parameter.grad = gradient
        if simultaneous:
            step_d.step()
        step_g.step()
    return generator, discriminator


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("order", [("discriminator", "generator"), ("generator", "discriminator")])
def test_simultaneous_phases_have_their_gradients_at_one_point(order, accumulate, fit, noise_batches):
    torch.manual_seed(0)
    model = Game([(name, "", {"simultaneous": True}) for name in order], accumulate=accumulate).double()
    batches = noise_batches(4, (2,))
    expected, alternating = (play_by_hand(model, batches, simultaneous) for simultaneous in (True, False))
    fit(model, batches, seed=5, max_steps=4, precision="64-true")
    networks = model.generator, model.discriminator
    for own, other, unlike in zip(networks, expected, alternating, strict=True):
        torch.testing.assert_close(own.state_dict(), other.state_dict(), rtol=0, atol=1e-12)
        assert not torch.allclose(next(own.parameters()), next(unlike.parameters()), rtol=0, atol=1e-4)
    assert model.updated == list(order) * 4


def test_alternating_phases_see_each_others_updates(fit, noise_batches):
    torch.manual_seed(0)
    model = Game([("discriminator", "", {}), ("generator", "", {})]).double()
    batches = noise_batches(4, (2,))
    expected = play_by_hand(model, batches, False)
    fit(model, batches, seed=5, max_steps=4, precision="64-true")
    for own, other in zip((model.generator, model.discriminator), expected, strict=True):
        torch.testing.assert_close(own.state_dict(), other.state_dict(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("simultaneous", [False, True])
def test_a_phase_without_terms_takes_no_update(simultaneous, fit, noise_batches):
    rules = [("discriminator", "empty", {"simultaneous": simultaneous})]
    rules += [("generator", "", {"simultaneous": simultaneous})]
    model = Game(rules, partial(torch.optim.Adam, lr=0.1))
    first = copy.deepcopy(model.discriminator.state_dict())
    trainer = fit(model, noise_batches(3, (2,)), max_steps=3, log_every_n_steps=1)
    torch.testing.assert_close(model.discriminator.state_dict(), first, rtol=0, atol=0)
    assert model.updated == ["generator"] * 3
    assert not trainer.optimizers[0].state
    assert trainer.global_step == 3
    assert set(trainer.callback_metrics) == {"generator/loss"}


def test_a_step_without_any_update_is_counted(fit, noise_batches):
    model = Game([("discriminator", "empty", {})])
    trainer = fit(model, noise_batches(2, (2,)), max_steps=2, log_every_n_steps=1)
    assert (trainer.global_step, model.images_seen, model.updated) == (2, 12, [])


def test_every_below_one(fit, noise_batches):
    with pytest.raises(GANError, match="every=0 must be at least 1: it is a number of steps"):
        fit(Game([("generator", "", {"every": 0})]), noise_batches(1, (2,)), max_steps=1)


def test_named_phases_are_logged_under_their_player(fit, noise_batches):
    model = Game([("discriminator", "", {}), ("discriminator", "lazy", {"every": 2}), ("generator", "", {})])
    trainer = fit(model, noise_batches(2, (2,)), max_steps=2, log_every_n_steps=1)
    assert set(trainer.callback_metrics) == {"discriminator/loss", "discriminator/minimax", "generator/loss"}


def test_a_player_of_several_modules_owns_each_parameter_once():
    shared, other = nn.Linear(2, 2), nn.Linear(2, 1)
    other.bias.requires_grad_(False)
    player = Player([nn.Sequential(shared, other), shared], torch.optim.SGD)
    assert [id(p) for p in player.parameters()] == [id(p) for p in (shared.weight, shared.bias, other.weight)]
    assert Player(nn.ModuleList([shared, other]), torch.optim.SGD).parameters() == player.parameters()
