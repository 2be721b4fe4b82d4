"""A player's backward and step, by Lightning's way only where something of the trainer's takes part."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.plugins.precision import DoublePrecision, HalfPrecision, MixedPrecision, Precision
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.strategies import SingleDeviceStrategy
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor

HOOKS = ("on_before_backward", "on_after_backward", "on_before_optimizer_step")
FORMATS = (Precision, MixedPrecision, HalfPrecision, DoublePrecision)  # without a scaler, they only cast


class Steps:
    """Backward and step of all moves of a fit.

    Lightning calls hooks of the model and of every callback around each, which costs a small game a third of its
    time. On one device, without a scaler, and where nobody listens, only the model's own
    `on_before_optimizer_step` is called.

    Args:
        game: The model, attached to its trainer.
    """

    def __init__(self, game: LightningModule) -> None:
        self._game = game
        trainer = game.trainer
        plugin = trainer.precision_plugin
        listening = [
            any(is_overridden(hook, callback, Callback) for callback in trainer.callbacks)  # type: ignore[attr-defined]
            or (hook != "on_before_optimizer_step" and is_overridden(hook, game))
            for hook in HOOKS
        ]
        self._direct = (
            type(trainer.strategy) is SingleDeviceStrategy
            and type(plugin) in FORMATS
            and getattr(plugin, "scaler", None) is None
            and type(trainer.profiler) is PassThroughProfiler  # type: ignore[attr-defined]
            and not any(listening)
        )
        if trainer.strategy.root_device.type == "cpu":
            # before each step they count the GPUs, in a way that Lightning makes slow and that finds none here
            for optimizer in trainer.optimizers:
                optimizer._accelerator_graph_capture_health_check = _nothing  # type: ignore[method-assign]

    def backward(self, loss: Tensor) -> None:
        """Add the loss's gradients to the parameters'."""
        if self._direct:
            loss.backward()  # type: ignore[no-untyped-call]
        else:
            self._game.manual_backward(loss)

    def step(self, optimizer: LightningOptimizer) -> None:
        """Let the optimizer step; `trainer.global_step` does not count it."""
        if self._direct:
            self._game.on_before_optimizer_step(optimizer.optimizer)
            optimizer.optimizer.step()
        else:
            self._game.trainer.strategy.optimizer_step(optimizer.optimizer, closure=_nothing)


def _nothing(*_: Any) -> None:
    """The closure of a step whose gradients are already there."""
