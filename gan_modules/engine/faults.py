"""What goes wrong outside the mathematics, told in words."""

from __future__ import annotations

import atexit
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from gan_modules.errors import GANError

EVERY = 10  # turns after which several processes ask one another whether to stop


@contextmanager
def explain_lost_rank() -> Iterator[None]:
    """Say that another process has ended, where a message to it fails.

    Raises:
        GANError: If it does.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise GANError(
            f"Another process of this run has ended or does not answer, so this one stops too; its own last words "
            f"say why. Saved checkpoints are untouched. ({str(error).splitlines()[0]})"
        ) from error


def destroy_group_at_exit() -> None:
    """Have this process leave the others before Python ends, not while: a thread that still listens then may abort it.

    Lightning does so for NCCL alone.
    """
    atexit.register(_part)


def _part() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def check_weights(state_dict: Mapping[str, Tensor]) -> None:
    """Refuse to save weights that are no longer finite.

    Raises:
        GANError: If some are not, naming the first.
    """
    floating = {name: t for name, t in state_dict.items() if t.is_floating_point() and type(t) is Tensor and t.numel()}
    if not floating:
        return
    finite = torch.isfinite(torch.stack([tensor.float().abs().amax() for tensor in floating.values()])).tolist()
    for name, is_finite in zip(floating, finite, strict=True):
        if not is_finite:
            raise GANError(
                f"The weights '{name}' are no longer finite: training stopped, the last checkpoint is untouched; try a "
                f"lower learning rate, clip_norm=1.0 or precision 32."
            )


class GracefulShutdown(Callback):
    """Lets Ctrl-C, or the end of a job's time, wait for the turn being played, then saves and says how to go on.

    A checkpoint of a half-played turn could not be continued. A second Ctrl-C stops at once, without one. Where SLURM
    queues the job again, Lightning's own saving for that waits for the end of the turn too, for all processes
    together. Nothing is done where the trainer saves no checkpoints.
    """

    def __init__(self) -> None:
        self._asked = 0  # the signal received
        self._requeue = 0  # the signal by which SLURM announces the end, where the job is queued again
        self._before: dict[int, Any] = {}  # the handlers whose place is taken

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen."""
        if trainer.checkpoint_callback is None or threading.current_thread() is not threading.main_thread():
            return
        cluster = trainer._accelerator_connector.cluster_environment
        if isinstance(cluster, SLURMEnvironment) and cluster.auto_requeue:
            self._requeue = int(cluster.requeue_signal or 0)
        self._asked = 0
        for number in (signal.SIGINT, self._requeue or signal.SIGTERM):
            self._before[number] = signal.signal(number, self._ask)
        if not self._requeue:  # SIGTERM is heard here; Lightning would ask all processes before each batch
            trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = _nothing  # type: ignore[method-assign]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop, if any process has been asked to."""
        asked = self._asked_of_any(trainer, batch_idx) if self._before else 0
        if not asked:
            return
        if asked == self._requeue:
            self._asked = 0
            self._before[asked](asked, None)
            return
        folder = getattr(trainer.checkpoint_callback, "dirpath", None) or trainer.default_root_dir
        path = Path(folder) / "interrupted.ckpt"
        trainer.save_checkpoint(path)
        if trainer.is_global_zero:
            print(
                f"\nStopped after {trainer.global_step} rounds, and saved all: go on by the same command with "
                f"--ckpt_path {path}, or by fit(..., ckpt_path=...).",
                flush=True,
            )
        raise KeyboardInterrupt

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen no longer."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
        trainer.fit_loop.epoch_loop.__dict__.pop("_broadcast_sigterm_tensor", None)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Listen no longer."""
        self.on_train_end(trainer, pl_module)

    def _ask(self, number: int, frame: Any) -> None:
        if self._asked == number == signal.SIGINT:
            raise KeyboardInterrupt
        self._asked = number

    def _asked_of_any(self, trainer: Trainer, batch_idx: int) -> int:
        if trainer.world_size == 1:
            return self._asked
        if batch_idx % EVERY:  # asking the others waits for the device
            return 0
        asked = torch.tensor(self._asked, device=trainer.strategy.root_device)
        with explain_lost_rank():
            return int(cast(Tensor, trainer.strategy.reduce(asked, reduce_op="max")))


def _nothing() -> None:
    """In the place of a question that has been answered."""
