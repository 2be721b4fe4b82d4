"""How long a fit is, and whether its learning rates reach 0 before its end."""

from __future__ import annotations

import math
from collections.abc import Callable

from lightning.pytorch import Trainer

ENDLESS = 10**9  # steps that stand for a fit without an end


def planned_steps(trainer: Trainer, batches_a_step: int) -> float:
    """Return the steps that a fit will have at most; infinity where nothing ends it."""
    by_steps = math.inf if trainer.max_steps == -1 else trainer.max_steps
    epochs = math.inf if trainer.max_epochs in (None, -1) else trainer.max_epochs
    return min(by_steps, float(epochs or 0) * trainer.num_training_batches / batches_a_step)


def planned_epochs(trainer: Trainer, batches_a_step: int) -> float:
    """Return the epochs that a fit will have at most, begun ones included; infinity where nothing ends it."""
    if not trainer.num_training_batches:
        return 0
    by_steps = planned_steps(trainer, batches_a_step) * batches_a_step / trainer.num_training_batches
    return by_steps if math.isinf(by_steps) else math.ceil(by_steps)


def idle_from(schedule: Callable[[int], float], steps: float) -> int | None:
    """Return from which step on the rates are 0, until the end; `None` where at most the last step's are.

    Args:
        schedule: From the number of steps to the factor on the learning rate.
        steps: Of the whole fit.
    """
    last = int(min(steps, ENDLESS)) - 1
    if last < 1 or schedule(last) or schedule(last - 1):
        return None
    low, high = -1, last - 1  # above 0 (or before the start), and 0
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if schedule(middle) else (low, middle)
    return high
