"""Every private name of Lightning's and torch's that the engine needs, each behind a function of its own.

`tests/engine/test_lightning_compat.py` fails where a new version has renamed one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.strategies.launchers.subprocess_script import _ChildProcessObserver
from lightning.pytorch import Trainer
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch.optim import Optimizer


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


def begin_counted_step(optimizer: LightningOptimizer) -> None:
    """Announce an optimizer step that `trainer.global_step` is to count."""
    optimizer._on_before_step()


def end_counted_step(optimizer: LightningOptimizer) -> None:
    """Count the optimizer step in `trainer.global_step`."""
    optimizer._on_after_step()


def skip_capture_check(optimizer: Optimizer) -> None:
    """Keep torch from asking before each step whether a CUDA graph is recorded, on a machine that steps on the CPU.

    It counts the GPUs for that, which Lightning makes slow.
    """
    optimizer._accelerator_graph_capture_health_check = _do_nothing  # type: ignore[method-assign]


def before_this_process_is_killed(action: Callable[[], None]) -> None:
    """Call `action` before Lightning kills this process because one that it started has died.

    A thread of Lightning's looks after the processes it has started, every five seconds.
    """
    for thread in threading.enumerate():
        if isinstance(thread, _ChildProcessObserver) and "_terminate_all" not in vars(thread):
            thread._terminate_all = partial(_both, action, thread._terminate_all)  # type: ignore[method-assign]


def _both(first: Callable[[], None], second: Callable[[], None]) -> None:
    first()
    second()


def _do_nothing(*_: Any) -> None:
    """Stand in for a method of Lightning's or torch's."""
