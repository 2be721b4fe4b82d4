"""What a checkpoint must hold besides Lightning's own for a run to go on as if it had never stopped."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, Protocol, cast

import numpy as np
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_warn

from gan_modules.engine.faults import explain_lost_rank


class Stateful(Protocol):
    """Something with a past: an image pool, a controller."""

    def state_dict(self) -> dict[str, Any]:
        """The past, as tensors and plain values."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any:
        """Take up that past."""


def random_state(device: torch.device) -> dict[str, Any]:
    """The state of each source of randomness of this process, as tensors and plain values."""
    _, keys, position, has_gauss, gauss = cast(tuple[Any, ...], np.random.get_state())
    return {
        "torch": torch.get_rng_state(),
        "device": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        "numpy": (torch.from_numpy(keys.astype(np.int64)), int(position), int(has_gauss), float(gauss)),
        "python": random.getstate(),
    }


def restore_random_state(state: Mapping[str, Any], device: torch.device) -> None:
    """Go on drawing where `random_state` was called."""
    torch.set_rng_state(state["torch"].cpu())
    if device.type == "cuda" and state["device"] is not None:
        torch.cuda.set_rng_state(state["device"].cpu(), device)
    keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state(("MT19937", keys.cpu().numpy().astype(np.uint32), position, has_gauss, gauss))
    version, numbers, gauss_next = state["python"]
    random.setstate((version, tuple(numbers), gauss_next))


def gather_objects(own: dict[str, Any]) -> list[dict[str, Any]]:
    """What each process gives, by rank; all of them must call this together."""
    if not torch.distributed.is_initialized():
        return [own]
    gathered: list[dict[str, Any]] = [{} for _ in range(torch.distributed.get_world_size())]
    with explain_lost_rank():
        torch.distributed.all_gather_object(gathered, own)
    return gathered


def state_of_rank(states: list[dict[str, Any]], rank: int, processes: int) -> dict[str, Any] | None:
    """What the process of that rank gave; `None`, and a warning, where the run is now spread otherwise."""
    if len(states) == processes:
        return states[rank]
    rank_zero_warn(
        f"The checkpoint is of {len(states)} processes and goes on in {processes}: networks and optimizers are "
        f"continued exactly, noise and the order of the data are not."
    )
    return None


def begin_next_epoch(trainer: Trainer) -> None:
    """Let Lightning see that the epoch was over when the checkpoint was saved, which with `max_steps` it does not.

    It would play one batch of the next epoch as the last of the old one.
    """
    loop = trainer.fit_loop
    progress = loop.epoch_progress
    if loop.restarted_on_epoch_end:
        progress.increment_completed()
    elif progress.current.completed < progress.current.ready:  # else it was saved after the fit had ended
        return
    loop._restarting = loop.epoch_loop.restarting = False
    loop.reset_restart_stage()
    loop.epoch_loop.reset_restart_stage()


def reopen_epoch(loop: dict[str, Any]) -> None:
    """Let Lightning see that the epoch was not over when `max_steps` ended the run that is now made longer.

    It would leave out the rest of the epoch's data.

    Args:
        loop: The checkpoint's state of the fit loop, which is changed.
    """
    progress = loop["epoch_progress"]
    if loop["epoch_loop.batch_progress"]["is_last_batch"]:
        return
    for counts in (progress["total"], progress["current"]):
        counts["processed"] = counts["completed"] = max(counts["ready"] - 1, 0)
