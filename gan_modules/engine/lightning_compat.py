"""Every private name of Lightning's and torch's that the engine needs, each behind a function of its own.

`tests/engine/test_lightning_compat.py` fails where a new version has renamed one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, cast

import torch
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.strategies.launchers.subprocess_script import _ChildProcessObserver
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.utilities.model_helpers import is_overridden as is_overridden
from torch import Tensor
from torch.fx.experimental import _config
from torch.optim import Optimizer


def is_attached(module: LightningModule) -> bool:
    """Return whether the module belongs to a trainer."""
    return module._trainer is not None


def was_compiled(module: LightningModule) -> bool:
    """Return whether the module was given to the trainer as the result of torch.compile."""
    return getattr(module, "_compiler_ctx", None) is not None


def count_step(optimizer: LightningOptimizer) -> None:
    """Let `trainer.global_step` count one step."""
    optimizer._on_before_step()
    optimizer._on_after_step()


def show_step(trainer: Trainer, step: int) -> None:
    """Set the x-axis of the loggers, which Lightning counts by batches; the loop adds one after the batch."""
    trainer.fit_loop.epoch_loop._batches_that_stepped = step


def cluster_environment(trainer: Trainer) -> ClusterEnvironment | None:
    """Return what the trainer knows of its cluster; `None` without one."""
    return trainer._accelerator_connector.cluster_environment


def stop_asking_for_sigterm(trainer: Trainer) -> None:
    """Keep Lightning from asking all processes before each batch whether one has received SIGTERM."""
    trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = _do_nothing  # type: ignore[method-assign]


def ask_for_sigterm(trainer: Trainer) -> None:
    """Undo `stop_asking_for_sigterm`."""
    trainer.fit_loop.epoch_loop.__dict__.pop("_broadcast_sigterm_tensor", None)


def end_restart(trainer: Trainer) -> None:
    """Let the fit loop begin its next epoch as if the run had not been continued from a checkpoint."""
    loop = trainer.fit_loop
    loop._restarting = loop.epoch_loop.restarting = False
    loop.reset_restart_stage()
    loop.epoch_loop.reset_restart_stage()


def validates_after_this_batch(trainer: Trainer) -> bool:
    """Return whether a validation follows the batch that has just been trained on."""
    loop = trainer.fit_loop
    return bool(loop.epoch_loop._should_check_val_fx(cast(Any, loop._data_fetcher)))


def ends_after_this_batch(trainer: Trainer) -> bool:
    """Return whether the fit ends with the batch that has just been trained on."""
    loop = trainer.fit_loop
    if trainer.max_steps != -1 and trainer.global_step >= trainer.max_steps:
        return True
    if trainer.should_stop and loop._can_stop_early:
        return True
    ends_epoch = trainer.is_last_batch or loop.epoch_loop._num_ready_batches_reached()
    return ends_epoch and trainer.max_epochs not in (None, -1) and trainer.current_epoch + 1 >= trainer.max_epochs


def validate_after_this_batch(trainer: Trainer) -> None:
    """Let a validation follow the batch that has just been trained on, whether it is due or not."""
    trainer.fit_loop.epoch_loop._should_check_val_fx = _return_true  # type: ignore[method-assign, assignment]


def validate_when_due(trainer: Trainer) -> None:
    """Undo `validate_after_this_batch`."""
    trainer.fit_loop.epoch_loop.__dict__.pop("_should_check_val_fx", None)


def skip_capture_check(optimizer: Optimizer) -> None:
    """Keep torch from asking before each step whether a CUDA graph is recorded, on a machine that steps on the CPU.

    It counts the GPUs for that, which Lightning makes slow.
    """
    optimizer._accelerator_graph_capture_health_check = _do_nothing  # type: ignore[method-assign]


def lerp_all(tensors: list[Tensor], ends: list[Tensor], weight: float) -> None:
    """Move tensors towards others by the same weight, in one operation."""
    torch._foreach_lerp_(tensors, ends, weight)


def takes_scaled_gradients(optimizer: Optimizer) -> bool:
    """Return whether the optimizer leaves it to its step to divide gradients by float16's scale, as fused ones do."""
    return bool(getattr(optimizer, "_step_supports_amp_scaling", False))


def before_this_process_is_killed(action: Callable[[], None]) -> None:
    """Call `action` before Lightning kills this process because one that it started has died.

    A thread of Lightning's looks after the processes it has started, every five seconds.
    """
    for thread in threading.enumerate():
        if isinstance(thread, _ChildProcessObserver) and "_terminate_all" not in vars(thread):
            thread._terminate_all = partial(_both, action, thread._terminate_all)  # type: ignore[method-assign]


def sizes_of_one_are_free() -> AbstractContextManager[object]:
    """Within it, `torch.export` does not tell sizes of 1 from others where a size is free."""
    patched: AbstractContextManager[object] = _config.patch(  # type: ignore[attr-defined]  # torch puts it there on import
        backed_size_oblivious=True
    )
    return patched


def _both(first: Callable[[], None], second: Callable[[], None]) -> None:
    first()
    second()


def _return_true(*_: Any) -> bool:
    return True


def _do_nothing(*_: Any) -> None:
    """Stand in for a method of Lightning's or torch's."""
