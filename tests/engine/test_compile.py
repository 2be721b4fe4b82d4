"""Compiled networks play the same game."""

import copy
import shutil
from functools import partial

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn
from torch._dynamo.backends.common import aot_autograd
from torch.utils.data import DataLoader

from datamodules import ToyDataModule
from gan_modules import CGAN, DCGAN, GAN, WGAN, WGANGP, CycleGAN, GANError, Pix2Pix, StyleGAN, StyleGAN2, VanillaGAN
from gan_modules.functional import regularizers

torch.set_num_threads(1)
needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs g++ on a CPU")

LATENT = {"image_shape": (1, 8, 8), "latent_dim": 4}
SIDES = {"image_shape": (3, 16, 16), "base_channels": 2, "discriminator_channels": 2, "patch_layers": 1}
STYLES = {"style_dim": 4, "channel_base": 32, "channel_max": 4, "mapping_layers": 2}
GAMES = {
    "vanilla": (VanillaGAN, {**LATENT, "hidden_dim": 8, "clip_norm": 1.0}),
    "dcgan": (DCGAN, {**LATENT, "base_channels": 2, "accumulate": 2}),
    "wgan": (WGAN, {**LATENT, "base_channels": 2, "n_critic": 2}),
    "wgan_gp": (WGANGP, {**LATENT, "base_channels": 4, "n_critic": 2}),
    "cgan": (CGAN, {**LATENT, "hidden_dim": 8, "num_classes": 3}),
    "pix2pix": (Pix2Pix, {**SIDES, "dropout": False, "ema_half_life": 100}),
    "stylegan2": (
        StyleGAN2,
        {**LATENT, **STYLES, "r1_interval": 2, "path_length_interval": 2, "ada_target": 0.6, "ada_images": 100},
    ),
    "stylegan": (StyleGAN, {**LATENT, **STYLES, "first_size": 4, "lod_training_images": 4, "lod_transition_images": 8}),
    "cyclegan": (CycleGAN, {**SIDES, "generator": "resnet_1"}),
}


def batches(cls, arguments, rounds):
    source = torch.Generator().manual_seed(1)
    turns = rounds * arguments.get("n_critic", 1)
    images = torch.rand(turns * 4, *arguments["image_shape"], generator=source) * 2 - 1
    others = {CGAN: torch.arange(len(images)) % 3, Pix2Pix: images.flip(3), CycleGAN: images.flip(0)}
    samples = list(zip(*([images, others[cls]] if cls in others else [images]), strict=True))
    return DataLoader(samples, batch_size=4)


# In float64, since Adam makes whole steps out of float32's noise where a gradient is 0
def fit(model, data, rounds=3, precision="64-true", **options):
    trainer = Trainer(
        accelerator="cpu",
        max_steps=rounds,
        max_epochs=-1,
        precision=precision,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    torch.manual_seed(2)
    trainer.fit(model, data, **options)
    return trainer


def made(cls, **arguments):
    torch.manual_seed(0)
    return cls(**arguments)


@pytest.fixture
def graphs(monkeypatch):
    """The graphs that torch.compile traces and differentiates, left to PyTorch's own operations: no compiler needed."""
    traced = []

    def note(graph, inputs):
        traced.append(graph)
        return graph

    backend = aot_autograd(fw_compiler=note, bw_compiler=note)
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    return traced


def assert_equal_weights(model, expected, tolerance):
    state, other = model.state_dict(), expected.state_dict()
    assert state.keys() == other.keys()
    for name, tensor in state.items():
        torch.testing.assert_close(
            tensor, other[name], rtol=tolerance, atol=tolerance, msg=lambda m, name=name: f"{name}: {m}"
        )


@pytest.mark.filterwarnings("error:.*recompile_limit")
@pytest.mark.parametrize("game", GAMES)
def test_compiled_networks_play_the_same_game(game, graphs):
    cls, arguments = GAMES[game]
    data = batches(cls, arguments, 3)
    model, expected = made(cls, **arguments, compile=True), made(cls, **arguments)
    assert fit(model, data).global_step == 3
    assert len(graphs) >= 2 * len(list(model.configure_players()))  # each forwards and backwards
    count = len(graphs)
    fit(expected, data)
    assert len(graphs) == count, "the model that was not to be compiled was"
    assert_equal_weights(model, expected, 1e-9)


@needs_compiler
def test_the_compiler_of_the_cpu_plays_the_same_game_with_its_penalty():
    arguments = {"image_shape": (2,), "latent_dim": 2, "hidden_dim": 4, "n_critic": 1}
    data = DataLoader(torch.randn(8, 2), batch_size=4)
    model, expected = made(WGANGP, **arguments, compile=True), made(WGANGP, **arguments)
    for game in (model, expected):
        fit(game, data, 2)
    assert_equal_weights(model, expected, 1e-9)


def test_a_penalty_on_a_compiled_critic_has_the_closed_forms_gradient(graphs):
    class Quadratic(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.tensor(3.0))

        def forward(self, x):
            return self.weight * x.square().sum(1, keepdim=True)

    critic = Quadratic()
    critic.compile(dynamic=False)
    x = torch.randn(5, 2)
    critic(x).sum().backward()
    assert graphs
    critic.zero_grad()
    regularizers.r1(critic, x).backward()  # ½·E‖2wx‖², whose derivative is 4w·E‖x‖²
    torch.testing.assert_close(critic.weight.grad, 12 * x.square().sum(1).mean())


def test_samples_copies_and_averages_are_not_compiled(graphs):
    cls, arguments = GAMES["dcgan"]
    model = made(cls, **arguments, compile=True)
    fit(model, batches(cls, arguments, 3), precision="32-true")
    count = len(graphs)
    images = {ema: model.sample(3, seed=0, ema=ema) for ema in (False, True)}
    assert not torch.equal(images[False], images[True])
    copied = copy.deepcopy(model)
    assert torch.equal(copied.sample(3, seed=0, ema=False), images[False])
    copied.generator(torch.randn(7, 4))
    model.generator_ema(torch.randn(7, 4))
    assert len(graphs) == count
    model.generator(torch.randn(7, 4))
    assert len(graphs) == count + 1


def test_a_compiled_run_goes_on_from_its_checkpoint_and_without_the_compiler(graphs, tmp_path):
    def run(rounds, compiled, **options):
        model = made(VanillaGAN, image_shape=(2,), latent_dim=2, hidden_dim=4, n_critic=2, compile=compiled)
        data = ToyDataModule(num_samples=100, batch_size=8)
        return model, fit(model, data, rounds, precision="32-true", **options)

    _, half = run(3, True)
    half.save_checkpoint(tmp_path / "half.ckpt")
    whole, _ = run(6, True)
    loaded = GAN.load_from_checkpoint(tmp_path / "half.ckpt")
    assert type(loaded) is VanillaGAN
    assert loaded.hparams["compile"] is True
    for compiled, tolerance in ((True, 0), (False, 1e-5)):
        continued, _ = run(6, compiled, ckpt_path=tmp_path / "half.ckpt")
        assert_equal_weights(continued, whole, tolerance)


def test_a_smaller_last_batch_is_compiled_for_its_size(graphs):
    points = torch.randn(10, 2)
    arguments = {"image_shape": (2,), "latent_dim": 2, "hidden_dim": 4}
    model, expected = made(VanillaGAN, **arguments, compile=True), made(VanillaGAN, **arguments)
    for game in (model, expected):
        fit(game, DataLoader(points, batch_size=4))
    assert_equal_weights(model, expected, 1e-9)


def test_without_a_compiler_a_sentence_says_so(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    cls, arguments = GAMES["vanilla"]
    with pytest.raises(
        GANError, match="compile=True needs a C\\+\\+ compiler on a CPU, and there is no 'no-such-compiler'"
    ):
        fit(made(cls, **arguments, compile=True), batches(cls, arguments, 1))


def test_a_way_to_compile_that_there_is_not():
    cls, arguments = GAMES["vanilla"]
    with pytest.raises(GANError, match=r"compile='fast' is no mode of compilation: pass True, or 'reduce-overhead'\."):
        fit(made(cls, **arguments, compile="fast"), batches(cls, arguments, 1))


@needs_compiler
def test_reduced_overhead_is_the_same_on_a_cpu():
    cls, arguments = GAMES["vanilla"]
    model, expected = made(cls, **arguments, compile="reduce-overhead"), made(cls, **arguments)
    for game in (model, expected):
        fit(game, batches(cls, arguments, 3))
    assert_equal_weights(model, expected, 1e-9)
