"""A fit ends with a validation, so that the last scores are those of what it ends with."""

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from torch.utils.data import DataLoader

from gan_modules import VanillaGAN


class Validations(Callback):
    """The steps after which a validation took place."""

    def __init__(self):
        self.steps = []

    def on_validation_end(self, trainer, pl_module):
        self.steps.append(trainer.global_step)


class Stops(Callback):
    """Ends the fit at a step, as a timer does."""

    def on_train_batch_end(self, trainer, *_):
        trainer.should_stop = trainer.should_stop or trainer.global_step == 3


def fit(tmp_path, *callbacks, n_critic=1, ckpt_path=None, **options):
    """Train on five batches an epoch; the loader for validation draws from the global random generator."""
    torch.manual_seed(0)
    model = VanillaGAN(point_shape=(2,), latent_dim=4, hidden_dim=4, n_critic=n_critic)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "num_sanity_val_steps": 0}
    quiet |= {"accelerator": "cpu", "default_root_dir": tmp_path, "enable_checkpointing": False}
    watch = Validations()
    trainer = Trainer(callbacks=[watch, *callbacks], **quiet | options)
    reals = torch.linspace(-1, 1, 40).view(20, 2)
    train = DataLoader(reals, 4, generator=torch.Generator())
    trainer.fit(model, train, DataLoader(reals, 10), ckpt_path=ckpt_path)
    return trainer, watch.steps


EVERY_2 = {"val_check_interval": 2, "check_val_every_n_epoch": None}


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({"max_steps": 7} | EVERY_2, [2, 4, 6, 7]),
        ({"max_steps": 6} | EVERY_2, [2, 4, 6]),
        ({"max_steps": 3, "check_val_every_n_epoch": 10}, [3]),
        ({"max_steps": 3}, [3]),
        ({"max_epochs": 2}, [5, 10]),
        ({"max_epochs": 3, "check_val_every_n_epoch": 2}, [10, 15]),
        ({"max_epochs": 1} | EVERY_2, [2, 4, 5]),
        ({"max_epochs": 2, "limit_train_batches": 3, "check_val_every_n_epoch": 10}, [6]),
        ({"max_steps": 4, "n_critic": 2, "check_val_every_n_epoch": 10}, [4]),
        ({"max_steps": 3, "limit_val_batches": 0}, []),
    ],
)
def test_the_last_validation_is_after_the_last_step(options, steps, tmp_path):
    trainer, validated = fit(tmp_path, **options)
    assert validated == steps
    assert not steps or steps[-1] == trainer.global_step


def test_a_fit_that_is_stopped_ends_so_too(tmp_path):
    assert fit(tmp_path, Stops(), max_steps=9, check_val_every_n_epoch=10)[1] == [3]
    assert fit(tmp_path, Stops(), max_steps=9, min_steps=6, check_val_every_n_epoch=10)[1] == [6]
    stopping = EarlyStopping("epoch", patience=1, check_on_train_epoch_end=True)
    stopping.on_train_epoch_end = lambda trainer, _: setattr(trainer, "should_stop", True)
    assert fit(tmp_path, stopping, max_epochs=9)[1] == [5]


def test_a_run_made_longer_equals_one_that_was_long(tmp_path):
    rare = {"check_val_every_n_epoch": 10}
    long, _ = fit(tmp_path, max_steps=8, **rare)
    short, steps = fit(tmp_path, max_steps=5, **rare)
    assert steps == [5]
    short.save_checkpoint(tmp_path / "short.ckpt")
    longer, steps = fit(tmp_path, max_steps=8, ckpt_path=tmp_path / "short.ckpt", **rare)
    assert steps == [8]
    for ours, theirs in zip(longer.model.parameters(), long.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
