"""A phase trains exactly what its player owns, whatever the player is called and whoever owns it too."""

import copy
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.functional import softplus

from gan_modules import GANError, VanillaGAN
from gan_modules.engine.players import Phase, Player
from gan_modules.families.latent import LatentGAN

STEPS = 4
descent = partial(torch.optim.SGD, lr=0.3)


def perceptron(inputs, outputs):
    return nn.Sequential(nn.Linear(inputs, 5), nn.Tanh(), nn.Linear(5, outputs))


class Game(LatentGAN):
    """A small game on points, by gradient descent."""

    def __init__(self, discriminator=None, **options):
        networks = perceptron(2, 2), discriminator or perceptron(2, 1)
        sizes = {"point_shape": (2,), "latent_dim": 2, "ema_half_life": 0}
        super().__init__(*networks, optimizer_g=descent, optimizer_d=descent, **sizes, **options)

    def discriminator_losses(self, x):
        return {"real": softplus(-self.logits(x.real)).mean(), "fake": softplus(self.logits(x.fake)).mean()}

    def generator_losses(self, x):
        return {"adversarial": softplus(-self.logits(x.fake)).mean()}


def build(cls, **options):
    torch.manual_seed(0)
    return cls(**options).double()


def steps_by_hand(batches, step, size):
    """Call `step` on the reals and latents that the Trainer's run has."""
    torch.manual_seed(5)
    for (real,) in batches:
        step(real.double(), torch.randn(len(real), size, dtype=torch.float64))


def descend(loss, *networks):
    parameters = [parameter for network in networks for parameter in network.parameters()]
    optimizer = descent(parameters)
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        parameter.grad = gradient
    optimizer.step()


class BiGAN(Game):
    """The generator and an encoder are one player, which is not called "generator" (arXiv:1605.09782)."""

    def __init__(self, **options):
        super().__init__(perceptron(4, 1), **options)
        self.encoder = perceptron(2, 2)

    def players(self):
        return {
            "discriminator": Player(self.discriminator, descent),
            "autoencoder": Player([self.generator, self.encoder], descent),
        }

    def phases(self):
        return [Phase("discriminator", self.discriminator_losses), Phase("autoencoder", self.autoencoder_losses)]

    def pairs(self, x):
        real = torch.cat([x.real, self.encoder(x.real)], 1)
        return self.discriminator(real), self.discriminator(torch.cat([x.fake, x.z], 1))

    def discriminator_losses(self, x):
        real, fake = self.pairs(x)
        return {"pairs": softplus(-real).mean() + softplus(fake).mean()}

    def autoencoder_losses(self, x):
        real, fake = self.pairs(x)
        return {"pairs": softplus(real).mean() + softplus(-fake).mean()}


def assert_equal_networks(ours, theirs, before):
    for own, other, first in zip(ours, theirs, before, strict=True):
        for name, tensor in own.state_dict().items():
            torch.testing.assert_close(tensor, other.state_dict()[name], rtol=0, atol=1e-9, msg=name)
            assert not torch.equal(tensor, first.state_dict()[name]), name


@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_generator_is_trained_by_whoever_owns_it(accumulate, fit, noise_batches):
    model = build(BiGAN, accumulate=accumulate)
    ours = model.generator, model.encoder, model.discriminator
    before = copy.deepcopy(ours)
    generator, encoder, discriminator = theirs = copy.deepcopy(ours)
    batches = noise_batches(STEPS, (2,))

    def step(real, z):
        code, fake = encoder(real), generator(z)
        on_real, on_fake = discriminator(torch.cat([real, code], 1)), discriminator(torch.cat([fake, z], 1))
        descend(softplus(-on_real).mean() + softplus(on_fake).mean(), discriminator)
        on_real = discriminator(torch.cat([real, encoder(real)], 1))
        on_fake = discriminator(torch.cat([generator(z), z], 1))
        descend(softplus(on_real).mean() + softplus(-on_fake).mean(), generator, encoder)

    fit(model, batches, seed=5, max_steps=STEPS, precision="64-true")
    steps_by_hand(batches, step, 2)
    assert_equal_networks(ours, theirs, before)


class InfoGAN(Game):
    """A third player trains the generator, the discriminator's body and a head of its own (arXiv:1606.03657)."""

    shares = ("discriminator", "generator")

    def __init__(self, **options):
        body = nn.Sequential(nn.Linear(2, 5), nn.Tanh())
        super().__init__(nn.Sequential(body, nn.Linear(5, 1)), **options)
        self.body, self.q = body, nn.Linear(5, 2)

    def players(self):
        modules = [self.generator, self.body, self.q]
        return super().players() | {"information": Player(modules, descent, shares=self.shares)}

    def phases(self):
        return [*super().phases(), Phase("information", self.information_losses)]

    def information_losses(self, x):
        return {"information": (self.q(self.body(x.fake)) - x.z).square().mean()}


@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_third_player_trains_all_that_it_shares(accumulate, fit, noise_batches):
    model = build(InfoGAN, accumulate=accumulate)
    ours = nn.ModuleList([model.generator, model.discriminator, model.q])
    before = copy.deepcopy(ours)
    generator, discriminator, q = theirs = copy.deepcopy(ours)
    batches = noise_batches(STEPS, (2,))

    def step(real, z):
        on_fake = discriminator(generator(z))
        descend(softplus(-discriminator(real)).mean() + softplus(on_fake).mean(), discriminator)
        descend(softplus(-discriminator(generator(z))).mean(), generator)
        descend((q(discriminator[0](generator(z))) - z).square().mean(), generator, discriminator[0], q)

    fit(model, batches, seed=5, max_steps=STEPS, precision="64-true")
    steps_by_hand(batches, step, 2)
    assert_equal_networks(ours, theirs, before)


@pytest.mark.parametrize("shares", [(), ("generator",)])
def test_sharing_that_is_not_declared_is_refused(shares, fit, noise_batches):
    model = build(InfoGAN)
    model.shares = shares
    other = "discriminator" if shares else "generator"
    words = (
        rf"The players '{other}' and 'information' own the same parameters.*shares=\('{other}',\)\) for 'information'"
    )
    with pytest.raises(GANError, match=words):
        fit(model, noise_batches(1, (2,)), max_steps=1)


class Observed(Game):
    """The generator's loss goes through a network that nobody owns, and through a frozen one."""

    def __init__(self):
        super().__init__()
        self.features = perceptron(2, 3)
        self.frozen = perceptron(3, 3).requires_grad_(False)
        self.flags = []

    def generator_losses(self, x):
        self.flags.append([next(net.parameters()).requires_grad for net in (self.features, self.frozen)])
        return {"features": self.frozen(self.features(x.fake)).square().mean()}


def test_what_nobody_owns_gets_no_gradient(fit, noise_batches):
    model = build(Observed)
    others = nn.ModuleList([model.features, model.frozen])
    before, generator = copy.deepcopy(others.state_dict()), copy.deepcopy(model.generator.state_dict())
    fit(model, noise_batches(STEPS, (2,)), max_steps=STEPS, precision="64-true")
    torch.testing.assert_close(others.state_dict(), before, rtol=0, atol=0)
    assert all(parameter.grad is None for parameter in others.parameters())
    assert model.flags == [[False, False]] * STEPS
    flags = [{parameter.requires_grad for parameter in net.parameters()} for net in others]
    assert flags == [{True}, {False}]  # after the fit
    assert all(not torch.equal(tensor, generator[name]) for name, tensor in model.generator.state_dict().items())


def test_frozen_players(fit, noise_batches):
    model = build(Game)
    model.discriminator.requires_grad_(False)
    with pytest.raises(GANError, match="The discriminator has no parameter to train: unfreeze some, "):
        fit(model, noise_batches(1, (2,)), max_steps=1)

    class GeneratorAlone(Game):
        def players(self):
            return {"generator": Player(self.generator, descent)}

        def phases(self):
            return [Phase("generator", self.generator_losses)]

    model = build(GeneratorAlone)
    model.discriminator.requires_grad_(False)
    first = copy.deepcopy(model.state_dict())
    fit(model, noise_batches(2, (2,)), max_steps=2, precision="64-true")
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, first[name])}
    assert changed == {name for name in first if name.startswith("generator.")}


def test_a_loss_that_does_not_depend_on_its_player(fit, noise_batches):
    class Mistaken(Game):
        def generator_losses(self, x):
            return {"adversarial": self.logits(x.real).mean()}

    with pytest.raises(GANError, match="The generator's loss depends on no parameter that the generator owns: check"):
        fit(build(Mistaken), noise_batches(1, (2,)), max_steps=1, precision="64-true")


def test_a_phase_of_nobody(fit, noise_batches):
    class Mistaken(Game):
        def phases(self):
            return [Phase("critic", self.discriminator_losses)]

    with pytest.raises(GANError, match="A phase updates 'critic', and the players are discriminator, generator"):
        fit(build(Mistaken), noise_batches(1, (2,)), max_steps=1)


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (None, r"objective returns NoneType: let it return named terms"),
        (torch.ones(()), r"objective returns Tensor: let it return named terms"),
        ({"adversarial": 0.5}, r"loss term 'adversarial' is float: it must be a scalar tensor"),
        ({"adversarial": torch.ones(3)}, r"loss term 'adversarial' is a tensor of shape \(3,\): it must be a scalar"),
    ],
)
def test_what_an_objective_returns_is_checked(returned, said, fit, noise_batches):
    class Wrong(VanillaGAN):
        def discriminator_losses(self, x):
            return returned

    with pytest.raises(GANError, match=f"The discriminator's {said}"):
        fit(Wrong((1, 4, 4), hidden_dim=4), noise_batches(1), max_steps=1)


@pytest.mark.parametrize("wrong", [{"every": 0}, {"repeats": 0}, {"repeats": -1}])
def test_a_phase_that_is_never_played_is_refused(wrong):
    (name,) = wrong
    with pytest.raises(GANError, match=f"{name}={wrong[name]} must be at least 1"):
        Phase("generator", dict, **wrong)


def test_a_player_without_a_phase_is_told_of(fit, noise_batches):
    class Idle(VanillaGAN):
        def players(self):
            return super().players() | {"idle": Player(self.unused, self.optimizer_d)}

    model = Idle((1, 4, 4), hidden_dim=4)
    model.unused = torch.nn.Linear(1, 1)
    with pytest.warns(UserWarning, match="No phase updates the player 'idle': what it owns will not be trained"):
        fit(model, noise_batches(1), max_steps=1)
