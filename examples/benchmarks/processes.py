"""How much of a process's speed is left when there are two: DCGAN under Trainer, with one thread each.

Each process plays batches of its own (weak scaling), so with no loss a step takes as long as before. One process alone
is timed, then both, in turn; in a third kind of run two processes play the same without telling each other anything,
which shows what they take from one another by sharing the machine. With fewer cores than processes the figures mean
nothing.

    python examples/benchmarks/processes.py
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from gan_modules import DCGAN

SHAPE, CHANNELS, BATCH, WARM_UP = (3, 32, 32), 32, 64, 10
CHILD = "BENCHMARK_STEPS"


class Clock(Callback):
    """Seconds a step, from the end of the warm-up to the last."""

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == WARM_UP:
            self.start = time.perf_counter()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.seconds = (time.perf_counter() - self.start) / (trainer.global_step - WARM_UP)


class Batches:
    """The same batch again and again."""

    def __iter__(self) -> Iterator[Tensor]:
        return itertools.repeat(torch.rand(BATCH, *SHAPE) * 2 - 1)


def train(steps: int) -> None:
    """One process's part, which the first of them prints."""
    torch.set_num_threads(1)
    clock, together = Clock(), int(os.environ.get("WORLD_SIZE", 1))
    trainer = Trainer(
        accelerator="cpu",
        devices=together,
        max_steps=steps + WARM_UP,
        logger=False,
        callbacks=[clock],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(DCGAN(SHAPE, base_channels=CHANNELS), Batches())
    if trainer.is_global_zero:
        print(f"seconds {clock.seconds}")


def timed(steps: int, processes: int, together: bool) -> float:
    """Return the milliseconds a step, of the slowest process."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if together else []
    command = [sys.executable, *torchrun, __file__]
    environment = os.environ | {CHILD: str(steps), "OMP_NUM_THREADS": "1"}
    running = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(1 if together else processes)
    ]
    said = [process.communicate() for process in running]
    if any(process.returncode for process in running):
        sys.exit("".join(errors for _, errors in said))
    return 1000 * max(float(line.split()[1]) for text, _ in said for line in text.splitlines() if "seconds " in line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=60, help="timed steps in each run")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each kind")
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    kinds = {
        "one process": (1, False),
        f"{args.processes} processes, apart": (args.processes, False),
        f"{args.processes} processes, together": (args.processes, True),
    }
    taken: dict[str, list[float]] = {name: [] for name in kinds}
    for repeat in range(args.repeats):
        for name, (processes, together) in list(kinds.items())[:: -1 if repeat % 2 else 1]:
            taken[name].append(timed(args.steps, processes, together))
    alone, *_ = taken.values()
    for name, times in taken.items():
        ratios = [one / many for one, many in zip(alone, times, strict=True)]
        print(
            f"{name:<24} {statistics.median(times):7.1f} ms a step, efficiency {statistics.median(ratios):.3f} "
            f"({min(ratios):.3f} to {max(ratios):.3f})"
        )


if __name__ == "__main__":
    if CHILD in os.environ:
        train(int(os.environ[CHILD]))
    else:
        main()
