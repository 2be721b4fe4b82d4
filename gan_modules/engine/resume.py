"""Continue a run as if it had never stopped: what a checkpoint must hold besides Lightning's own state."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, Protocol, cast

import numpy as np
import torch
from lightning.pytorch import Trainer

from gan_modules.engine.lightning_compat import end_restart
from gan_modules.errors import GANError


class Stateful(Protocol):
    """Something whose state checkpoints must hold: an image pool, a controller."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state, as tensors and plain values."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any:
        """Take over that state."""


def random_state(device: torch.device) -> dict[str, Any]:
    """Return the state of each source of randomness of this process, as tensors and plain values."""
    _, keys, position, has_gauss, gauss = cast(tuple[Any, ...], np.random.get_state())
    return {
        "torch": torch.get_rng_state(),
        "device": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        "numpy": (torch.from_numpy(keys.astype(np.int64)), int(position), int(has_gauss), float(gauss)),
        "python": random.getstate(),
    }


def restore_random_state(state: Mapping[str, Any], device: torch.device) -> None:
    """Continue to draw where `random_state` was called."""
    torch.set_rng_state(state["torch"].cpu())
    if device.type == "cuda" and state["device"] is not None:
        torch.cuda.set_rng_state(state["device"].cpu(), device)
    keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state(("MT19937", keys.cpu().numpy().astype(np.uint32), position, has_gauss, gauss))
    version, numbers, gauss_next = state["python"]
    random.setstate((version, tuple(numbers), gauss_next))


def begin_next_epoch(trainer: Trainer) -> None:
    """Begin a new epoch if the checkpoint was saved at the end of one.

    With `max_steps`, Lightning does not notice that the epoch was over: it would count one batch of the next epoch as
    the last of the old one.
    """
    loop = trainer.fit_loop
    progress = loop.epoch_progress
    if loop.restarted_on_epoch_end:
        progress.increment_completed()
    elif progress.current.completed < progress.current.ready:  # else it was saved after the fit had ended
        return
    end_restart(trainer)


def reopen_epoch(checkpoint: dict[str, Any]) -> None:
    """Continue the epoch that `max_steps` had ended, where the run is now made longer.

    Lightning would leave out the rest of the epoch's data.

    Args:
        checkpoint: The whole checkpoint; its state of Lightning's fit loop is changed in place.

    Raises:
        GANError: If it holds weights alone.
    """
    if not {"loops", "optimizer_states"} <= checkpoint.keys():
        raise GANError(
            "The checkpoint holds weights alone, and a training cannot go on without its optimizers: pass one that was "
            "saved without save_weights_only, or begin with these weights by GAN.load_from_checkpoint(path)."
        )
    loop = checkpoint["loops"]["fit_loop"]
    progress = loop["epoch_progress"]
    if loop["epoch_loop.batch_progress"]["is_last_batch"]:
        return
    for counts in (progress["total"], progress["current"]):
        counts["processed"] = counts["completed"] = max(counts["ready"] - 1, 0)
