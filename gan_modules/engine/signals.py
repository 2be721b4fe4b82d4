"""Stop a run by Ctrl-C, or at the end of a job's time, without losing a step."""

from __future__ import annotations

import signal
import threading
from itertools import chain, count
from pathlib import Path
from typing import Any, cast

import torch
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from gan_modules.engine.lightning_compat import ask_for_sigterm, cluster_environment, stop_asking_for_sigterm

EVERY = 10  # batches after which several processes ask one another whether to stop


class GracefulShutdown(Callback):
    """Finish the current batch after Ctrl-C or SIGTERM, save a checkpoint, and say how to continue.

    A checkpoint from within a batch could not be continued. A second Ctrl-C stops at once and saves nothing. Where
    SLURM queues the job again, Lightning's own checkpoint for that also waits for the end of the batch, in all
    processes together. The callback does nothing where the trainer saves no checkpoints.
    """

    def __init__(self) -> None:
        self._received = 0  # the signal, 0 for none
        self._requeue = 0  # the signal by which SLURM announces the end, where the job is queued again
        self._previous: dict[int, Any] = {}  # the handlers that are replaced during the fit

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Install the handlers."""
        if trainer.checkpoint_callback is None or threading.current_thread() is not threading.main_thread():
            return
        cluster = cluster_environment(trainer)
        if isinstance(cluster, SLURMEnvironment) and cluster.auto_requeue:
            self._requeue = int(cluster.requeue_signal or 0)
        self._received = 0
        for number in (signal.SIGINT, self._requeue or signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._receive)
        if not self._requeue:  # SIGTERM is handled here
            stop_asking_for_sigterm(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save and stop if any process has received a signal."""
        received = self._received_by_any(trainer, batch_idx) if self._previous else 0
        if not received:
            return
        if received == self._requeue:
            self._received = 0
            self._previous[received](received, None)
            return
        folder = getattr(trainer.checkpoint_callback, "dirpath", None) or trainer.default_root_dir
        path = _unused(Path(folder) / "interrupted.ckpt", trainer.ckpt_path)
        trainer.save_checkpoint(path)
        if trainer.is_global_zero:
            print(
                f"\nStopped after {trainer.global_step} steps, and saved all: go on by the same command with "
                f"--ckpt_path {path}, or by fit(..., ckpt_path=...).",
                flush=True,
            )
        raise KeyboardInterrupt

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the previous handlers back."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}
        ask_for_sigterm(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Put the previous handlers back."""
        self.on_train_end(trainer, pl_module)

    def _receive(self, number: int, frame: Any) -> None:
        if self._received == number == signal.SIGINT:
            raise KeyboardInterrupt
        self._received = number

    def _received_by_any(self, trainer: Trainer, batch_idx: int) -> int:
        if trainer.world_size == 1:
            return self._received
        if batch_idx % EVERY:  # asking the others waits for the device
            return 0
        received = torch.tensor(self._received, device=trainer.strategy.root_device)
        return int(cast(Tensor, trainer.strategy.reduce(received, reduce_op="max")))


def _unused(path: Path, own: Any) -> Path:
    """Return a path at which no other run has saved anything; `own` is what this run goes on from."""
    paths = chain([path], (path.with_stem(f"{path.stem}-v{number}") for number in count(1)))
    return next(each for each in paths if not each.exists() or (own and each.samefile(own)))
