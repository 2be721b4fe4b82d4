"""The line of a fit's progress, read from what a terminal gets."""

import re
import warnings

import pytest
import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader

from gan_modules import VanillaGAN
from gan_modules.callbacks import FID, StepProgress
from gan_modules.callbacks.progress import short_names


def lines(capsys, n_critic=1, ckpt_path=None, callbacks=(), tmp_path=".", **options):
    torch.manual_seed(0)
    model = VanillaGAN(point_shape=(2,), latent_dim=4, hidden_dim=4, n_critic=n_critic)
    quiet = {"logger": False, "enable_model_summary": False, "num_sanity_val_steps": 0, "log_every_n_steps": 1}
    quiet |= {"accelerator": "cpu", "default_root_dir": tmp_path, "enable_checkpointing": False}
    trainer = Trainer(callbacks=[StepProgress(), *callbacks], **quiet | options)
    reals = torch.linspace(-1, 1, 40).view(20, 2)
    trainer.fit(model, DataLoader(reals, 4), DataLoader(reals, 10), ckpt_path=ckpt_path)
    shown = [line.strip() for line in re.split(r"[\r\n]+", capsys.readouterr().out) if "left" in line]
    return trainer, shown


@pytest.mark.parametrize(
    ("options", "end"),
    [
        ({"max_steps": 7}, "7/7"),
        ({"max_epochs": 2}, "10/10"),
        ({"max_epochs": 2, "n_critic": 2}, "5/5"),
        ({"max_epochs": 4, "max_steps": 7}, "7/7"),
        ({"max_epochs": 1, "max_steps": 70}, "5/5"),
    ],
)
def test_it_counts_steps_of_the_game(options, end, capsys, tmp_path):
    trainer, shown = lines(capsys, tmp_path=tmp_path, limit_val_batches=0, **options)
    assert shown[-1].startswith(f"{end} |████████| 00:00 left")
    metrics = {name: float(value) for name, value in trainer.progress_bar_metrics.items()}
    figures = f"D {metrics['discriminator/loss']:.3g} G {metrics['generator/loss']:.3g}"
    assert shown[-1].endswith(figures)
    assert max(map(len, shown)) <= 80


def test_it_shows_the_score_and_goes_on_at_its_step(capsys, tmp_path):
    trainer, shown = lines(capsys, tmp_path=tmp_path, max_steps=7, callbacks=[FID()])
    assert re.search(rf" fd_\w+ {float(trainer.callback_metrics['val/fd_coordinates']):.3g}$", shown[-1])
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    _, shown = lines(capsys, tmp_path=tmp_path, max_steps=9, ckpt_path=tmp_path / "last.ckpt", limit_val_batches=0)
    assert shown[0].startswith("7/9 ")
    assert shown[-1].startswith("9/9 ")


def test_names_are_short_and_tell_players_apart():
    metrics = {"discriminator/loss": 1.0, "discriminator/r1": 2.0, "generator/loss": 3.0, "val/fd_digits": 4.0}
    assert short_names(metrics | {"warnings": 1}) == {"D": 1.0, "G": 3.0, "fd_digits": 4.0, "warnings": 1.0}
    assert short_names({"encoder/loss": 1.0, "editor/loss": 2.0, "generator/loss": 3.0}) == {
        "encoder": 1.0,
        "editor": 2.0,
        "G": 3.0,
    }


def test_a_healthy_fit_says_nothing_else(capsys, caplog, tmp_path):
    """No adverts, and no warning of Lightning's about what is right here."""
    caplog.set_level("INFO")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer, _ = lines(capsys, tmp_path=tmp_path, max_steps=7)
        trainer.save_checkpoint(tmp_path / "last.ckpt")
    said = [record.getMessage() for record in caplog.records] + [str(warning.message) for warning in caught]
    for noise in ("Tip", "weights_only", "LeafSpec", "TPU", "logging interval", "pre-optimization"):
        assert not [sentence for sentence in said if noise in sentence]
