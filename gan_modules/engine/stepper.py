"""Backward and optimizer step of a player, through Lightning's hooks only where something listens to them."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.plugins.precision import DoublePrecision, HalfPrecision, MixedPrecision, Precision
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor

from gan_modules.engine.lightning_compat import is_overridden, skip_capture_check

HOOKS = ("on_before_backward", "on_after_backward", "on_before_optimizer_step")
FORMATS = (Precision, MixedPrecision, HalfPrecision, DoublePrecision)  # without a scaler, they only cast


class OptimizerStepper:
    """Run backward and optimizer step of all players of a fit.

    Lightning calls hooks of the model and of every callback around each. On one device, without a scaler, and where
    nothing listens, only the model's own `on_before_optimizer_step` is called.

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
        # With `_direct` always False, the game "points" of examples/benchmarks/games.py (3 ms a step) takes 10 % more
        # CPU time (quartiles 7 to 14 %, 25 pairs by examples/benchmarks/pairs.py), DCGAN at 32 pixels 3 % (1 to 4 %).
        self._direct = (
            type(trainer.strategy) is SingleDeviceStrategy
            and type(plugin) in FORMATS
            and getattr(plugin, "scaler", None) is None
            and type(trainer.profiler) is PassThroughProfiler  # type: ignore[attr-defined]
            and not any(listening)
        )
        if trainer.strategy.root_device.type == "cpu":
            for optimizer in trainer.optimizers:
                skip_capture_check(optimizer)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of the loss to those of the parameters."""
        if self._direct:
            loss.backward()  # type: ignore[no-untyped-call]
        else:
            self._game.manual_backward(loss)

    def step(self, optimizer: LightningOptimizer) -> None:
        """Step the optimizer; `trainer.global_step` does not count it."""
        if self._direct:
            self._game.on_before_optimizer_step(optimizer.optimizer)
            optimizer.optimizer.step()
        else:
            self._game.trainer.strategy.optimizer_step(optimizer.optimizer, closure=_nothing)


def _nothing(*_: Any) -> None:
    """Stand in for the closure of a step whose gradients are already computed."""
