"""Two or more ways of doing the same, timed in turn, so that a drift of the machine's speed favours none.

Each side runs in a process of its own. All are kept alive, and one at a time works for some steps: A B B A A …
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import statistics
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from torch import Tensor

from gan_modules.engine.allocator import keep_freed_memory

Batch = tuple[Tensor, ...]
FEWEST_PAIRS, LONGEST = 3, 60.0  # after so many pairs and seconds a comparison is done


class Pace:
    """Lets a side take as many steps as are asked for, and reports how long they took."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._left = 0
        self._began: float | None = None
        self._over = False

    def goes_on(self) -> bool:
        """Return whether the side is to take another step; waits while the other sides work."""
        if self._over:
            return False
        if self._left == 0:
            if self._began is not None:
                if torch.cuda.is_available():
                    torch.cuda.synchronize()
                self._pipe.send(time.perf_counter() - self._began)
            self._left = self._pipe.recv()
            self._over = self._left == 0
            self._began = time.perf_counter()
        self._left -= 1
        return not self._over


class Batches:
    """A loader of batches that lie ready in memory, which waits for its pace before each step.

    Args:
        pace: Says when to go on.
        ready: The batches, served again and again.
        per_step: Batches that a step takes.
    """

    def __init__(self, pace: Pace, ready: Sequence[Batch], per_step: int = 1) -> None:
        self._pace = pace
        self._ready = ready
        self._per_step = per_step
        self.batch_size = len(ready[0][0])

    def __len__(self) -> int:
        return 10**9

    def __iter__(self) -> Iterator[Batch]:
        for number in itertools.count():
            if number % self._per_step == 0 and not self._pace.goes_on():
                return
            yield self._ready[number % len(self._ready)]


Side = Callable[[Pace], None]


@dataclass(frozen=True)
class Comparison:
    """What is compared with what.

    Attributes:
        about: What both sides do, and what differs.
        sides: By name; each works for as long as its pace goes on.
        against: For each side but the first, the name of the one it is measured by.
        units: How many of what is counted (images, say) a step is worth, for rates.
    """

    about: str
    sides: Mapping[str, Side]
    against: Mapping[str, str]
    units: float = 0.0


@dataclass(frozen=True)
class Measured:
    """What was measured.

    Attributes:
        seconds: Of a step, by side, one figure a block.
        megabytes: The most memory that each side's process has held.
    """

    seconds: dict[str, list[float]]
    megabytes: dict[str, float]


def measure(
    find: Callable[[], Comparison], *, pairs: int, seconds: float, keep: bool, threads: int, said: Callable[[str], None]
) -> Measured:
    """Time the sides of a comparison in turn.

    Args:
        find: Makes the comparison, in each process anew; importable by name.
        pairs: Blocks of steps that each side plays, or fewer where they take long.
        seconds: About how long the first side's blocks last.
        keep: Whether all sides keep the memory they have freed, as the command line does, or none does.
        threads: That torch may use in each.
        said: Told how far it is.
    """
    names = list(find().sides)
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        pipes: dict[str, Connection] = {}
        processes = []
        for name in names:
            pipes[name], theirs = context.Pipe()
            arguments = (find, name, theirs, str(Path(folder) / str(len(processes))), keep, threads)
            processes.append(context.Process(target=_work, args=arguments))
            processes[-1].start()
            theirs.close()

        def play(name: str, steps: int) -> float:
            pipes[name].send(steps)
            answer = pipes[name].recv()
            if isinstance(answer, str):
                raise RuntimeError(f"'{name}' has failed:\n{answer}")
            return float(answer)

        try:
            for name in names:
                said(f"warming up {name}")
                play(name, 1)
            steps = 1
            for _ in range(2):  # as many steps for all, so that they stay at the same place of the game
                took, *_ = [play(name, steps) for name in names]
                if took >= seconds:
                    break
                steps = max(1, round(seconds / took * steps))
            taken: dict[str, list[float]] = {name: [] for name in names}
            began = time.perf_counter()
            for pair in range(pairs):
                if pair >= FEWEST_PAIRS and time.perf_counter() - began > LONGEST:
                    break
                said(f"pair {pair + 1} of {pairs}, {steps} steps each")
                for name in names if pair % 2 == 0 else reversed(names):
                    taken[name].append(play(name, steps) / steps)
            return Measured(taken, {name: play(name, 0) for name in names})
        finally:
            for pipe, process in zip(pipes.values(), processes, strict=True):
                pipe.close()
                process.join(20)
                process.kill()


def _work(find: Callable[[], Comparison], name: str, pipe: Connection, folder: str, keep: bool, threads: int) -> None:
    """One side's process; what it says on the way goes to a file in its folder, where it works."""
    os.mkdir(folder)
    os.chdir(folder)
    log = os.open("log", os.O_CREAT | os.O_WRONLY)
    os.dup2(log, 1)
    os.dup2(log, 2)
    if keep:
        keep_freed_memory()
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    try:
        find().sides[name](Pace(pipe))
        pipe.send(_most_megabytes())
    except BaseException:
        pipe.send(traceback.format_exc())


def _most_megabytes() -> float:
    # not getrusage's figure, which begins with that of the process that started this one
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def ratios(measured: Measured, side: str, against: str) -> list[float]:
    """The times of a side as multiples of those of another, pair by pair."""
    return [ours / theirs for ours, theirs in zip(measured.seconds[side], measured.seconds[against], strict=True)]


def middle(values: Sequence[float]) -> tuple[float, float, float]:
    """The median, and the ends of the middle half."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return median, low, high
