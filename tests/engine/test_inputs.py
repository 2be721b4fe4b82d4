"""Fakes are made when asked for and kept as long as their graph; latents are those of `prior` everywhere."""

import copy
from collections import namedtuple
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.functional import softplus

from gan_modules import GANError, VanillaGAN
from gan_modules.engine.inputs import Inputs, map_tensors, slices, take
from gan_modules.engine.players import Phase
from gan_modules.families.latent import LatentGAN

descent = partial(torch.optim.SGD, lr=0.3)


class Game(LatentGAN):
    """A small game on points that notes what each phase is given; the order of its phases is an argument."""

    def __init__(self, order=("discriminator", "generator"), fresh=False, generator=None, **options):
        critic = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))
        sizes = {"point_shape": (2,), "latent_dim": 2, "ema_half_life": 0}
        network = generator or nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 2))
        super().__init__(network, critic, optimizer_g=descent, optimizer_d=descent, **sizes, **options)
        self.order, self.fresh = order, fresh
        self.given = []  # (player, latents, fakes, whether they have a graph)
        self.made = 0
        self.generator.register_forward_hook(self.count)

    def count(self, *_):
        self.made += 1

    def phases(self):
        objectives = {"discriminator": self.discriminator_losses, "generator": self.generator_losses}
        repeats = {"discriminator": self.n_critic, "generator": 1}
        return [Phase(name, objectives[name], repeats=repeats[name], fresh=self.fresh) for name in self.order]

    def note(self, player, x):
        self.given.append((player, x.z, x.fake.detach().clone(), x.fake.requires_grad))

    def discriminator_losses(self, x):
        self.note("discriminator", x)
        return {"minimax": softplus(-self.logits(x.real)).mean() + softplus(self.logits(x.fake)).mean()}

    def generator_losses(self, x):
        self.note("generator", x)
        return {"adversarial": softplus(-self.logits(x.fake)).mean()}


def build(**options):
    torch.manual_seed(0)
    return Game(**options).double()


@pytest.mark.parametrize(
    ("options", "made"),
    [
        ({}, 1),  # for the discriminator, and kept with its graph for the generator
        ({"order": ("generator", "discriminator")}, 1),
        ({"order": ("discriminator", "discriminator", "generator")}, 1),
        ({"order": ("discriminator", "generator", "generator")}, 2),  # the first has spent the graph
        ({"order": ("generator", "discriminator", "generator")}, 2),
        ({"n_critic": 3}, 3),
        ({"fresh": True}, 2),
        ({"accumulate": 3}, 3 + 3),  # parts are there to save memory: no part's graph is kept
        ({"accumulate": 3, "order": ("generator", "discriminator")}, 3),
    ],
)
def test_fakes_are_made_once_and_again_after_their_graph(options, made, fit, noise_batches):
    model = build(**options)
    fit(model, noise_batches(3, (2,)), max_steps=1, precision="64-true")
    assert model.made == made
    for player, _, _, has_graph in model.given:
        assert has_graph is (player == "generator")


def test_phases_of_a_batch_share_latents_and_fresh_ones_do_not(fit, noise_batches):
    for fresh in (False, True):
        model = build(fresh=fresh)
        fit(model, noise_batches(2, (2,)), max_steps=2, precision="64-true")
        latents = [z for _, z, _, _ in model.given]
        assert torch.equal(latents[0], latents[1]) is not fresh
        assert not torch.equal(latents[0], latents[2])  # the next batch


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("order", [("discriminator", "generator", "generator"), ("generator", "discriminator")])
def test_any_order_is_the_loop_by_hand(order, accumulate, fit, noise_batches):
    model = build(order=order, accumulate=accumulate)
    generator, critic = copy.deepcopy(model.generator), copy.deepcopy(model.discriminator)
    batches = noise_batches(3, (2,))
    fit(model, batches, seed=5, max_steps=3, precision="64-true")
    torch.manual_seed(5)
    for (real,) in batches:
        real, z = real.double(), torch.randn(6, 2, dtype=torch.float64)
        fake = None  # the discriminator sees what there is; it may be of before the generator's update
        for player in order:
            if player == "generator":
                network, fake = generator, generator(z)
                loss = softplus(-critic(fake)).mean()
            else:
                network, fake = critic, generator(z) if fake is None else fake
                loss = softplus(-critic(real)).mean() + softplus(critic(fake.detach())).mean()
            network.zero_grad()
            gradients = torch.autograd.grad(loss, list(network.parameters()))
            with torch.no_grad():
                for parameter, gradient in zip(network.parameters(), gradients, strict=True):
                    parameter -= 0.3 * gradient
    torch.testing.assert_close(model.generator.state_dict(), generator.state_dict(), rtol=0, atol=1e-12)
    torch.testing.assert_close(model.discriminator.state_dict(), critic.state_dict(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("trains_maker", [False, True])
@pytest.mark.parametrize("n", [None, 2, 8])
def test_redraw(n, trains_maker):
    network = nn.Linear(2, 2)
    labels = torch.tensor([3, 4, 5])
    source = torch.Generator().manual_seed(0)

    def generate(x):
        return network(x.z) + x.condition[0][:, None]

    x = Inputs(
        torch.zeros(3, 2),
        (labels,),
        prior=lambda n: torch.randn(n, 2, generator=source),
        generate=generate,
        maker=network,
        batch="whole",
    )
    x.begin_phase(trains_maker)
    first, fake = x.z, x.fake
    other = x.redraw() if n is None else x.redraw(n)
    count = n or 3
    assert other.z.shape == (count, 2)
    assert not torch.equal(other.z[:2], first[:2])
    assert other.condition[0].tolist() == [3, 4, 5, 3, 4, 5, 3, 4][:count]  # those of the reals, from the first again
    assert other.fake.requires_grad is trains_maker
    torch.testing.assert_close(other.fake, generate(other))
    assert other.real is x.real
    assert other.batch == "whole"
    assert x.z is first
    assert torch.equal(x.fake, fake)


def test_more_fakes_than_reals_train_the_generator(fit, noise_batches):
    class Generous(Game):
        def generator_losses(self, x):
            return {"adversarial": softplus(-self.logits(x.redraw(50).fake)).mean()}

    model = Generous()
    first = copy.deepcopy(model.generator.state_dict())
    fit(model, noise_batches(1, (2,)), max_steps=1)
    assert all(not torch.equal(tensor, first[name]) for name, tensor in model.generator.state_dict().items())


def test_inputs_without_fakes_say_so():
    x = Inputs(torch.zeros(3, 2))
    assert x.z is None
    with pytest.raises(GANError, match="These inputs have no fakes: pass generate and maker to Inputs"):
        _ = x.fake


Captioned = namedtuple("Captioned", ["image", "caption"])


def test_trees_of_any_kind_are_cut_and_mapped():
    tree = {
        "pair": (torch.arange(5), [torch.arange(10).view(5, 2)]),
        "words": ["a", "b", "c", "d", "e"],
        "named": Captioned(torch.arange(5), list("vwxyz")),
        "scalar": torch.tensor(7),
        "name": "whole",
    }
    first, second = (take(tree, rows) for rows in slices([3, 2]))
    assert first["pair"][0].tolist() == [0, 1, 2]
    assert second["pair"][1][0].tolist() == [[6, 7], [8, 9]]
    assert (first["words"], second["words"]) == (["a", "b", "c"], ["d", "e"])
    assert isinstance(second["named"], Captioned)
    assert (second["named"].image.tolist(), second["named"].caption) == ([3, 4], ["y", "z"])
    assert (first["scalar"], second["scalar"], first["name"]) == (7, 7, "whole")
    again = take(tree, [0, 4, 0])
    assert (again["pair"][0].tolist(), again["words"]) == ([0, 4, 0], ["a", "e", "a"])
    assert (again["named"].caption, again["scalar"]) == (["v", "z", "v"], 7)
    doubled = map_tensors(lambda tensor: 2 * tensor, tree)
    assert doubled["pair"][0].tolist() == [0, 2, 4, 6, 8]
    assert doubled["named"].image.tolist() == [0, 2, 4, 6, 8]
    assert doubled["name"] == "whole"


class Uniform(Game):
    """Latents from the square [2, 3)²."""

    def prior(self, n):
        return 2 + torch.rand(n, 2)


def test_a_prior_of_ones_own_is_that_of_training_and_samples(fit, noise_batches):
    model = Uniform()
    fit(model, noise_batches(3, (2,)), max_steps=3)
    latents = torch.cat([z for _, z, _, _ in model.given])
    assert 2 <= latents.min() < latents.max() < 3
    torch.manual_seed(7)
    z = 2 + torch.rand(5, 2)
    with torch.no_grad():
        expected = model.generator(z)
    assert torch.equal(model.sample(5, seed=7), expected)


@pytest.mark.parametrize("cls", [Game, Uniform])
def test_a_seed_gives_the_same_latents_and_leaves_the_others_alone(cls):
    model = cls()
    before = torch.get_rng_state()
    first = model.draw_latents(4, seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(model.draw_latents(4, seed=3), first)
    assert not torch.equal(model.draw_latents(4, seed=4), first)
    assert not torch.equal(model.draw_latents(4), model.draw_latents(4))


def test_a_prior_of_whole_numbers(fit, noise_batches):
    """One generator of several is chosen by its number, as a mixture of generators does."""

    class Mixture(Game):
        def __init__(self):
            super().__init__(generator=nn.Embedding(3, 2))

        def prior(self, n):
            return torch.randint(3, (n,))

        def synthesize(self, generator, z, *condition, truncation):
            return generator(z)

    model = Mixture()
    fit(model, noise_batches(2, (2,)), max_steps=2)
    z = torch.tensor([2, 0])
    assert torch.equal(model.sample(2, z=z), model.generator.weight.detach()[z])
    assert len(model.sample(70, seed=0).unique(dim=0)) == 3


def test_the_augmentation_is_seen_by_losses_and_not_by_realness(fit, noise_batches):
    class Doubled(nn.Module):
        def forward(self, samples):
            return 2 * samples

    model = VanillaGAN(point_shape=(2,), latent_dim=2, hidden_dim=4, augment=Doubled())
    seen = []
    model.discriminator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().clone()))
    ((real,),) = batches = noise_batches(1, (2,))
    fit(model, batches, max_steps=1)
    assert torch.equal(seen[0], 2 * real)
    assert torch.equal(seen[1], seen[2])  # the fakes, for either player
    model.realness(real)
    assert torch.equal(seen[3], real)
