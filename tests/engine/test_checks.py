"""What is asked of a game that only one optimizer could give is answered with the model's own argument."""

import copy

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import GradientAccumulationScheduler, LearningRateMonitor, StochasticWeightAveraging
from lightning.pytorch.loggers import CSVLogger

from gan_modules import WGANGP, GANError, VanillaGAN
from gan_modules.engine.checks import slow_formats

SMALL = {"image_shape": (1, 4, 4), "latent_dim": 3, "hidden_dim": 4}
WITH_AVX2 = {"avx2": True, "avx512_f": False, "avx512_bf16": False, "amx_bf16": False, "architecture": "x86_64"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"gradient_clip_val": 0.5}, r"pass clip_norm=0.5 to VanillaGAN"),
        ({"gradient_clip_val": 0.5, "gradient_clip_algorithm": "value"}, r"clip_norm=0.5"),
        ({"accumulate_grad_batches": 4}, r"pass accumulate=4 to VanillaGAN"),
    ],
)
def test_options_for_one_optimizer_are_answered_with_the_models(fit, noise_batches, options, words):
    with pytest.raises(GANError, match=words):
        fit(VanillaGAN(**SMALL), noise_batches(1), max_steps=1, **options)


@pytest.mark.parametrize(
    ("callback", "words"),
    [
        (lambda: GradientAccumulationScheduler({0: 2}), "accumulate"),
        (lambda: StochasticWeightAveraging(1e-3), "ema_half_life"),
    ],
)
def test_callbacks_for_one_optimizer_are_answered_with_the_models(fit, noise_batches, callback, words):
    with pytest.raises(GANError, match=words):
        fit(VanillaGAN(**SMALL), noise_batches(1), callback(), max_steps=1)


def test_a_compiled_game_is_answered_with_compile(fit, noise_batches):
    compiled = torch.compile(WGANGP(image_shape=(1, 8, 8), base_channels=2))
    with pytest.raises(GANError, match=r"pass WGANGP\(…, compile=True\)"):
        fit(compiled, noise_batches(1, (1, 8, 8)), max_steps=1)


@pytest.mark.parametrize("decay", [None, 4])
def test_rates_are_logged_by_player(fit, noise_batches, tmp_path, decay):
    model = WGANGP(image_shape=(1, 8, 8), base_channels=2, n_critic=1, decay_steps=decay, lr_g=1e-3, lr_d=2e-3)
    monitor = LearningRateMonitor("step")
    fit(model, noise_batches(3, (1, 8, 8)), monitor, max_steps=3, logger=CSVLogger(tmp_path), log_every_n_steps=1)
    factors = [1.0, 1.0, 1.0] if decay is None else [1.0, 0.75, 0.5]
    assert monitor.lrs["lr-generator"] == pytest.approx([1e-3 * factor for factor in factors])
    assert monitor.lrs["lr-discriminator"] == pytest.approx([2e-3 * factor for factor in factors])
    assert len(monitor.lrs) == 2


def test_a_run_without_schedules_resumes_exactly(fit, noise_batches, tmp_path):
    class Save(Callback):
        def on_train_batch_end(self, trainer, model, *_):
            if trainer.global_step == 2:
                trainer.save_checkpoint(tmp_path / "two.ckpt")

    torch.manual_seed(0)
    whole = VanillaGAN(**SMALL)
    rest = copy.deepcopy(whole)
    batches = noise_batches(1) * 4  # a plain loader begins again
    fit(whole, batches, Save(), max_steps=4)
    fit(rest, batches, max_steps=4, ckpt_path=tmp_path / "two.ckpt")
    assert all(torch.equal(tensor, rest.state_dict()[name]) for name, tensor in whole.state_dict().items())


# ---- Players with nothing to train -----------------------------------------------------------------------------------


def test_a_frozen_model_and_a_frozen_player_are_named(fit, noise_batches):
    model = VanillaGAN(**SMALL)
    model.freeze()
    with pytest.raises(GANError, match=r"call model.unfreeze\(\)"):
        fit(model, noise_batches(1), max_steps=1)
    model.unfreeze()
    fit(model, noise_batches(1), max_steps=1)
    model.generator.requires_grad_(False)
    with pytest.raises(GANError, match=r"The generator has no parameter to train: .*requires_grad_\(True\)"):
        fit(model, noise_batches(1), max_steps=1)


class Freezes(Callback):
    """Freezes a player after a step, and sets it free after another."""

    def __init__(self, name, first, last):
        self.name, self.first, self.last, self.seen = name, first, last, []

    def on_train_batch_start(self, trainer, model, batch, batch_idx):
        if trainer.global_step in (self.first, self.last):
            getattr(model, self.name).requires_grad_(trainer.global_step == self.last)

    def on_train_batch_end(self, trainer, model, *_):
        networks = (model.discriminator, model.generator)
        self.seen.append([torch.cat([p.detach().flatten() for p in n.parameters()]) for n in networks])


@pytest.mark.parametrize("name", ["discriminator", "generator"])
def test_a_player_that_is_frozen_during_a_fit_rests(fit, noise_batches, name):
    freezes = Freezes(name, 1, 3)
    fit(VanillaGAN(**SMALL), noise_batches(4), freezes, max_steps=4)
    steps = zip(freezes.seen, freezes.seen[1:], strict=False)
    moved = [[not torch.equal(*pair) for pair in zip(before, after, strict=True)] for before, after in steps]
    resting = ["discriminator", "generator"].index(name)
    assert [step[resting] for step in moved] == [False, False, True]
    assert [step[1 - resting] for step in moved] == [True, True, True]


def test_a_layer_that_is_frozen_stays_so_during_a_fit(fit, noise_batches):
    model = VanillaGAN(**SMALL)
    first = next(model.discriminator.parameters()).requires_grad_(False)
    before = first.clone()
    fit(model, noise_batches(2), max_steps=2)
    assert torch.equal(first, before)
    assert not first.requires_grad


# ---- Formats without instructions ------------------------------------------------------------------------------------


def said(precision, capabilities):
    trainer = Trainer(accelerator="cpu", precision=precision, logger=False, enable_checkpointing=False)
    return list(slow_formats(trainer, capabilities))


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "16-true"])
def test_half_precision_without_instructions_is_said_to_be_slow(precision):
    (sentence,) = said(precision, WITH_AVX2)
    assert precision in sentence
    assert "float32 is faster" in sentence
    assert said(precision, {}) == []  # of an unknown processor nothing is said


@pytest.mark.parametrize("name", ["avx512_bf16", "amx_bf16", "bf16", "sve_bf16"])
def test_with_bfloat16_instructions_nothing_is_said(name):
    assert said("bf16-mixed", WITH_AVX2 | {name: True}) == []
    assert said("16-true", WITH_AVX2 | {name: True})


@pytest.mark.parametrize("precision", ["32-true", "64-true"])
def test_full_precision_needs_no_such_instructions(precision):
    assert said(precision, WITH_AVX2) == []


def test_it_is_said_before_the_fit(fit, noise_batches, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: WITH_AVX2)
    with pytest.warns(UserWarning, match="no bfloat16 instructions"):
        fit(VanillaGAN(**SMALL), noise_batches(1), max_steps=1, precision="bf16-mixed")
