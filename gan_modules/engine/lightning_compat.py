"""Every private name of Lightning's that the engine uses, each behind a function of its own, with a test."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.core.mixins.hparams_mixin import _given_hyperparameters
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.utilities.model_helpers import is_overridden as is_overridden


def is_attached(module: LightningModule) -> bool:
    """Return whether the module belongs to a trainer."""
    return module._trainer is not None


def count_step(optimizer: LightningOptimizer) -> None:
    """Let `trainer.global_step` count one step."""
    optimizer._on_before_step()
    optimizer._on_after_step()


def show_step(trainer: Trainer, step: int) -> None:
    """Set the x-axis of the loggers, which Lightning counts by batches; the loop adds one after the batch."""
    trainer.fit_loop.epoch_loop._batches_that_stepped = step


def given_hyperparameters() -> dict[str, Any] | None:
    """Return the arguments that the command line builds a model with, as plain values; `None` outside it."""
    given: dict[str, Any] | None = _given_hyperparameters.get()
    return given
