"""Diagnose: its figures against scikit-learn and numpy, its warnings on games that are really made to fail."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.plugins import MixedPrecision
from sklearn.metrics import pairwise_distances, roc_auc_score
from torch import nn
from torch.utils.data import TensorDataset

from datamodules import DigitsDataModule, ToyDataModule
from gan_modules import CGAN, DCGAN, WGANGP, CycleGAN, GANError, VanillaGAN
from gan_modules.callbacks import Diagnose, Limits

DIGITS = {"image_shape": (1, 16, 16), "latent_dim": 8}


@pytest.fixture
def fit(tmp_path):
    def fit(model, *callbacks, data=None, seed=0, **options):
        quiet = {"enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
        trainer = Trainer(
            default_root_dir=tmp_path,
            callbacks=list(callbacks),
            **{"accelerator": "cpu", "max_epochs": -1, "logger": False, **quiet, **options},
        )
        torch.manual_seed(seed)
        trainer.fit(model, DigitsDataModule(batch_size=64) if data is None else data)
        return trainer

    return fit


def lines(folder):
    return [json.loads(line) for line in (folder / "diagnostics.jsonl").read_text().splitlines()]


def warned(folder):
    """The names of the warnings at each check, by the step of the check."""
    checks = lines(folder)
    return {check["step"]: set(check["warnings"]) for check in checks}


# ---- Figures ---------------------------------------------------------------------------------------------------------


class Recorder(Callback):
    """The norm of each player's gradient at its last step, seen by the optimizer itself."""

    def on_train_start(self, trainer, model):
        self.norms = {}
        for name, optimizer in zip(("discriminator", "generator"), trainer.optimizers, strict=True):
            optimizer.register_step_pre_hook(lambda optimizer, *_, name=name: self._note(name, optimizer))

    def _note(self, name, optimizer):
        squares = [(p.grad.double() ** 2).sum() for group in optimizer.param_groups for p in group["params"]]
        self.norms[name] = float(torch.stack(squares).sum().sqrt())


def test_figures_are_those_of_scikit_learn_and_numpy(fit, tmp_path):
    """Of a CGAN without BatchNorm, whose weights after the last step are those that Diagnose saw."""
    torch.manual_seed(0)
    model = CGAN(**DIGITS, hidden_dim=32)
    data = DigitsDataModule(batch_size=100, val_fraction=0.2)
    recorder = Recorder()
    fit(model, Diagnose(every_n_steps=6, num_samples=250), recorder, data=data, max_steps=6, val_check_interval=3)
    (figures,) = lines(tmp_path)

    def first(loader, n=250):
        columns = [torch.cat(parts)[:n] for parts in zip(*loader, strict=True)]
        return columns[0].float() / 127.5 - 1, columns[1]

    (real, labels), (held_out, held_out_labels) = first(data.train_dataloader()), first(data.val_dataloader())
    z = torch.randn(250, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        on_real = model.discriminator(real, labels).numpy().ravel()
        on_fake = model.discriminator(model.generator(z, labels), labels).numpy().ravel()
        on_held_out = model.discriminator(held_out, held_out_labels).numpy().ravel()
    samples = model.sample(250, z=z, labels=labels)
    truth = np.repeat([1, 0], 250)
    assert figures["auc"] == pytest.approx(roc_auc_score(truth, np.r_[on_real, on_fake]), abs=1e-4)
    assert figures["overfit"] == pytest.approx(roc_auc_score(truth, np.r_[on_real, on_held_out]), abs=1e-4)
    accuracy = (figures["accuracy_real"] + figures["accuracy_fake"]) / 2
    best = max(((on_real >= t).mean() + (on_fake < t).mean()) / 2 for t in [*on_real, *on_fake])
    assert accuracy == pytest.approx(best, abs=1e-4)
    assert abs(figures["accuracy_held_out"] - figures["accuracy_real"]) < 0.15  # six steps are too few to overfit

    pixels, fakes = (images.flatten(1).double().numpy() for images in (real, samples))
    to_reals, to_fakes, across = (pairwise_distances(a, b) for a, b in ((pixels,) * 2, (fakes,) * 2, (pixels, fakes)))
    radii = np.sort(to_reals, axis=1)[:, 5]  # the nearest is the image itself
    assert figures["coverage"] == pytest.approx((across.min(axis=1) < radii).mean(), abs=1e-6)
    near = np.quantile(np.sort(to_reals, axis=1)[:, 1], 0.01)
    assert figures["duplicates"] == pytest.approx((np.sort(to_fakes, axis=1)[:, 1] <= near).mean(), abs=1e-6)
    assert figures["saturation"] == pytest.approx((np.abs(samples.numpy()) > 0.99).mean(), abs=1e-6)
    assert figures["saturation_real"] == pytest.approx((np.abs(real.numpy()) > 0.99).mean(), abs=1e-6)
    for player in ("discriminator", "generator"):
        assert figures[f"gradient_{player}"] == pytest.approx(recorder.norms[player], rel=1e-5)
        weights = [p.detach().numpy() for p in getattr(model, player).parameters() if p.ndim > 1]
        assert figures[f"spectral_{player}"] == pytest.approx(max(np.linalg.norm(w, 2) for w in weights), rel=0.02)
    assert (figures["step"], figures["images_seen"], figures["samples"]) == (6, 600, 250)


@pytest.mark.parametrize("clip_norm", [None, 1e-3])
def test_gradients_are_noted_unscaled_and_before_clipping(fit, tmp_path, clip_norm):
    norms = []
    for scale in (None, 2.0**12):
        torch.manual_seed(0)
        model = VanillaGAN(**DIGITS, hidden_dim=32, clip_norm=clip_norm)
        plugin = scale and MixedPrecision("16-mixed", "cpu", scaler=torch.amp.GradScaler("cpu", init_scale=scale))
        fit(model, Diagnose(every_n_steps=1), max_steps=1, plugins=plugin)
        norms.append(lines(tmp_path)[-1]["gradient_generator"])
    assert norms[0] > 0.1
    assert norms[1] == pytest.approx(norms[0], rel=0.05)


# ---- Games that are made to fail ------------------------------------------------------------------------------------


class Deafen(Callback):
    """Between two steps the generator gets zeros for latents; afterwards its weights are restored."""

    def __init__(self, begin, end):
        self.begin, self.end = begin, end

    def on_train_batch_start(self, trainer, model, batch, batch_idx):
        if trainer.global_step == self.begin:
            self.kept = copy.deepcopy(model.generator.state_dict())
            self.hook = model.generator.register_forward_pre_hook(lambda _, latents: torch.zeros_like(latents[0]))
        if trainer.global_step == self.end:
            self.hook.remove()
            model.generator.load_state_dict(self.kept)


def test_no_warning_while_healthy_one_in_a_collapse_and_a_note_when_it_is_over(fit, tmp_path, caplog):
    torch.manual_seed(0)
    model = DCGAN((1, 16, 16), base_channels=8, lr_g=1e-3, lr_d=1e-3, ema_half_life=0)
    diagnose = Diagnose(every_n_steps=50, grace=150, patience=1)
    fit(model, Deafen(400, 500), diagnose, max_steps=550)
    told = warned(tmp_path)
    assert list(told) == list(range(50, 551, 50))
    assert all(not told[step] for step in range(50, 401, 50))  # five checks of a healthy run after the grace
    assert {"duplicates", "coverage"} <= told[450] & told[500]
    assert not {"duplicates", "coverage"} & told[550]
    assert lines(tmp_path)[8]["duplicates"] == 1
    messages = [record.getMessage() for record in caplog.records if record.name.endswith("diagnose")]
    (begins,) = [message for message in messages if "G repeats itself: " in message]  # once, though at two checks
    assert begins.startswith("Step 450: ")
    assert "100% of 512 samples have a near twin" in begins
    assert "Step 550: No longer true: G repeats itself." in messages


def test_a_learning_rate_far_too_high_is_found_and_ends_the_fit(fit, tmp_path):
    torch.manual_seed(0)
    model = VanillaGAN(**DIGITS, hidden_dim=64, lr_g=0.05)
    saved = ModelCheckpoint(tmp_path, save_last=True, every_n_train_steps=30)
    trainer = fit(
        model,
        Diagnose(every_n_steps=30, grace=60, stop=True),
        saved,
        max_steps=500,
        enable_checkpointing=True,
    )
    told = warned(tmp_path)
    assert [step for step, names in told.items() if names] == [120]  # wrong at the checks of 90 and 120
    assert told[120] >= {"duplicates", "coverage", "saturation"}
    assert trainer.global_step == 120
    assert torch.load(saved.last_model_path, weights_only=True)["global_step"] == 120


class Noise(nn.Module):
    """Latents themselves as pixels: samples of the very distribution of the reals below."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(3.0))

    def forward(self, z):
        return (self.scale * z).tanh().view(-1, 1, 8, 8)


def test_a_discriminator_that_overfits_is_found(fit, tmp_path):
    """Reals and samples are noise, so that nothing but memory tells them apart."""
    torch.manual_seed(0)
    model = VanillaGAN((1, 8, 8), latent_dim=64, hidden_dim=64, lr_g=0.0, lr_d=1e-3, ema_half_life=0)
    model.generator = Noise()
    train, held_out = (TensorDataset((3 * torch.randn(n, 1, 8, 8)).tanh()) for n in (32, 200))
    data = LightningDataModule.from_datasets(train, held_out, batch_size=32)
    fit(model, Diagnose(every_n_steps=50, grace=0, patience=1), data=data, max_steps=200)
    told = warned(tmp_path)
    assert told[200] == {"overfit"}
    assert lines(tmp_path)[-1]["auc"] > 0.95
    assert lines(tmp_path)[-1]["overfit"] > 0.95
    assert lines(tmp_path)[-1]["accuracy_held_out"] < 0.5 < 0.9 < lines(tmp_path)[-1]["accuracy_real"]


class Inflate(Callback):
    """The generator's last layer grows by a tenth at every step."""

    def on_train_batch_start(self, trainer, model, batch, batch_idx):
        model.generator.layers[-1].weight.data.mul_(1.1)


def test_a_layer_that_runs_away_is_named(fit, tmp_path):
    torch.manual_seed(0)
    model = VanillaGAN(**DIGITS, hidden_dim=16)
    fit(model, Inflate(), Diagnose(every_n_steps=10, grace=0), max_steps=30)
    assert [bool(names & {"growth_generator"}) for names in warned(tmp_path).values()] == [False, False, True]
    assert lines(tmp_path)[-1]["growth_generator"] == pytest.approx(1.1**10, rel=0.05)
    assert "spectral norm of generator.layers.6.weight is 2." in lines(tmp_path)[-1]["warnings"]["growth_generator"]


# ---- Manners ---------------------------------------------------------------------------------------------------------


class Dropping(DCGAN):
    """BatchNorm and dropout in both players: all that a careless look would move."""

    def __init__(self, **options):
        super().__init__(**options)
        for network in (self.generator, self.discriminator):
            network.layers.insert(3, nn.Dropout(0.2))


def test_training_is_the_same_bit_for_bit(fit, tmp_path):
    states = []
    for callbacks in ([], [Diagnose(every_n_steps=1, num_samples=100)]):
        torch.manual_seed(1)
        model = Dropping(**DIGITS, base_channels=4)
        trainer = fit(model, *callbacks, data=DigitsDataModule(batch_size=64), max_steps=6, val_check_interval=4)
        states.append({**model.state_dict(), "random": torch.get_rng_state()})
        for name, optimizer in zip(("d", "g"), trainer.optimizers, strict=True):
            moments = optimizer.state_dict()["state"]
            states[-1] |= {f"{name}{key}": torch.stack([m.sum() for m in s.values()]) for key, s in moments.items()}
    assert [line["step"] for line in lines(tmp_path)] == [1, 2, 3, 4, 5, 6]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_steps_of_several_batches_and_points_in_the_plane(fit, tmp_path):
    torch.manual_seed(0)
    model = WGANGP(point_shape=(2,), latent_dim=2, hidden_dim=16, n_critic=3)
    logger = CSVLogger(tmp_path, name="run")
    data = ToyDataModule(num_samples=4000, batch_size=64)
    trainer = fit(model, Diagnose(every_n_steps=4), data=data, max_steps=9, logger=logger, log_every_n_steps=4)
    found = lines(Path(logger.log_dir))
    assert [line["step"] for line in found] == [4, 8]
    assert "saturation" not in found[0]  # points have no bounds
    rows = [line.split(",") for line in (Path(logger.log_dir) / "metrics.csv").read_text().splitlines()]
    logged = [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]
    logged = {int(row["step"]): float(row["diagnose/auc"]) for row in logged if row["diagnose/auc"]}
    assert logged == {3: pytest.approx(found[0]["auc"]), 7: pytest.approx(found[1]["auc"])}
    assert trainer.progress_bar_metrics["warnings"] == 0


def test_a_resumed_run_remembers_what_was_and_how_long(fit, tmp_path):
    torch.manual_seed(0)
    saved = ModelCheckpoint(tmp_path, filename="saved", every_n_train_steps=20)
    options = {"every_n_steps": 20, "grace": 0, "limits": Limits(duplicates=-1.0)}  # always a warning
    model = VanillaGAN(**DIGITS, hidden_dim=32)
    fit(model, Diagnose(**options), saved, max_steps=20, enable_checkpointing=True)
    (before,) = lines(tmp_path)
    assert "duplicates" not in before["warnings"]  # not yet: it has to last two checks
    trainer = Trainer(
        accelerator="cpu", max_steps=40, logger=False, callbacks=Diagnose(**options), default_root_dir=tmp_path
    )
    trainer.fit(VanillaGAN(**DIGITS, hidden_dim=32), DigitsDataModule(), ckpt_path=tmp_path / "saved.ckpt")
    after = lines(tmp_path)[-1]
    assert after["step"] == 40
    assert "duplicates" in after["warnings"]
    assert after["best_coverage"] == max(before["coverage"], after["coverage"])
    assert after["growth_generator"] != 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"every_n_steps": 0}, "positive numbers, got every_n_steps=0"),
        ({"patience": 0}, "positive numbers, got .*patience=0"),
        ({"grace": -1}, "positive numbers, got .*grace=-1"),
        ({"num_samples": 5}, "num_samples=5 must be above 5"),
    ],
)
def test_bad_numbers_are_refused(arguments, message):
    with pytest.raises(GANError, match=message):
        Diagnose(**arguments)


def test_other_games_are_refused_before_training(fit):
    with pytest.raises(GANError, match=r"and CycleGAN is none, for want of .*: leave Diagnose out"):
        fit(CycleGAN((1, 32, 32), base_channels=2), Diagnose(), max_steps=1)
    with pytest.raises(GANError, match="LightningModule is none"):
        Diagnose().setup(Trainer(logger=False), LightningModule(), "fit")


def test_a_config_file_can_ask_for_it():
    parser = ArgumentParser()
    parser.add_argument("--callback", type=Callback)
    asked = {"every_n_steps": 100, "features": "digits", "stop": True, "limits": {"duplicates": 0.3}}
    config = parser.parse_object({"callback": {"class_path": "gan_modules.callbacks.Diagnose", "init_args": asked}})
    callback = parser.instantiate(parser.parse_string(parser.dump(config))).callback
    assert (callback.every_n_steps, callback.features, callback.stop) == (100, "digits", True)
    assert callback.limits == Limits(duplicates=0.3)


def test_a_feature_network_may_look_instead_of_pixels(fit, tmp_path):
    torch.manual_seed(0)
    model = VanillaGAN(**DIGITS, hidden_dim=16)
    fit(model, Diagnose(every_n_steps=2, num_samples=64, features="digits"), max_steps=2)
    from gan_modules.metrics import DigitFeatures

    samples = model.sample(64, z=torch.randn(64, 8, generator=torch.Generator().manual_seed(0)))
    real = next(iter(DigitsDataModule(batch_size=64).train_dataloader()))[0]
    a, b = (DigitFeatures()(images).double().numpy() for images in (real, samples))
    radii = np.sort(pairwise_distances(a), axis=1)[:, 5]
    assert lines(tmp_path)[0]["coverage"] == pytest.approx((pairwise_distances(a, b).min(1) < radii).mean(), abs=1e-6)


SCRIPT = """
import sys
import torch
from lightning.pytorch import Trainer
from datamodules import DigitsDataModule
from gan_modules import VanillaGAN
from gan_modules.callbacks import Diagnose

torch.set_num_threads(1)
torch.manual_seed(0)
model = VanillaGAN(image_shape=(1, 16, 16), latent_dim=8, hidden_dim=64, lr_g=0.05)
trainer = Trainer(
    accelerator="cpu", devices=2, strategy="ddp", max_steps=200, max_epochs=-1, default_root_dir=sys.argv[1],
    logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    val_check_interval=10, callbacks=Diagnose(every_n_steps=20, num_samples=100, grace=40, stop=True),
)
trainer.fit(model, DigitsDataModule(batch_size=32))
sys.stdout.write(f"ended {trainer.global_rank} {trainer.global_step}\\n")  # at once, between the other's lines
"""


def test_two_processes_speak_once_and_stop_together(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "CUDA_VISIBLE_DEVICES": ""}
    words = [sys.executable, script, tmp_path]
    done = subprocess.run(words, env=environment, check=True, timeout=200, capture_output=True, text=True)
    checks = lines(tmp_path)
    assert [check["step"] for check in checks] == [20, 40, 60, 80]
    assert checks[-1]["warnings"]
    assert {"overfit", "auc", "coverage", "accuracy_held_out"} < checks[0].keys()
    assert sorted(line for line in done.stdout.splitlines() if line.startswith("ended")) == ["ended 0 80", "ended 1 80"]
    assert done.stderr.count("Step 80: G repeats itself") == 1
