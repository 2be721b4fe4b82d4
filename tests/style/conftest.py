from collections.abc import Callable

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer

from datamodules import DigitsDataModule


@pytest.fixture
def fit_digits(tmp_path) -> Callable[..., Trainer]:
    """Fit a model on digits, whose order a checkpoint continues."""

    def fit(model, image_size, steps, *callbacks, seed=0, ckpt_path=None):
        trainer = Trainer(
            accelerator="cpu",
            max_steps=steps,
            max_epochs=-1,
            limit_val_batches=0,
            logger=False,
            callbacks=list(callbacks),
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
        )
        torch.manual_seed(seed)
        trainer.fit(model, DigitsDataModule(image_size=image_size, batch_size=6), ckpt_path=ckpt_path)
        return trainer

    return fit


@pytest.fixture
def bits() -> Callable[[LightningModule, Trainer], list]:
    """All that a run may not lose: weights, averages, moments, counters, the order of the noise."""

    def bits(model, trainer):
        states = [optimizer.state_dict()["state"] for optimizer in trainer.optimizers]
        moments = [value for state in states for moments in state.values() for value in moments.values()]
        return [model.images_seen, trainer.global_step, *model.state_dict().values(), *moments, torch.rand(4)]

    return bits
