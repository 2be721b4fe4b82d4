"""Several processes in one run: what they say to one another, networks spread over them, and the death of one."""

from __future__ import annotations

import atexit
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor

from gan_modules.engine.lightning_compat import before_this_process_is_killed
from gan_modules.errors import GANError

LOST_RANK = (
    "Another process of this run has ended or does not answer, so this one stops too; the last output of that process "
    "says why. Saved checkpoints are untouched."
)
MESSAGES = ("barrier", "broadcast", "reduce", "all_gather")  # the methods by which a strategy of Lightning's talks
GRACE = 30.0  # seconds for this process to notice by itself that another has died
T = TypeVar("T")


# ---- The death of another process ----------------------------------------------------------------------------------


@contextmanager
def explain_lost_rank() -> Iterator[None]:
    """Explain the failure of a message as the death of another process.

    Raises:
        GANError: If a message fails in the block.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise GANError(f"{LOST_RANK} ({str(error).splitlines()[0]})") from error


def explain_every_message(trainer: Trainer) -> None:
    """Explain the death of another process wherever Lightning notices it.

    Lightning has its own messages, around checkpoints for example. A process that has started others is also killed by
    Lightning within five seconds of the death of one, so it is given the time to save its logs and to say why it ends.
    May be called for each fit.

    Args:
        trainer: A trainer with several processes, in which the fit is being set up.
    """
    for name in MESSAGES:
        method = getattr(trainer.strategy, name)
        if not isinstance(method, _Explained):
            setattr(trainer.strategy, name, _Explained(method))
    before_this_process_is_killed(_wait_for_own_end)


class _Explained:
    """A method that sends a message, whose failure it explains."""

    def __init__(self, message: Callable[..., Any]) -> None:
        self._message = message

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with explain_lost_rank():
            return self._message(*args, **kwargs)

    def __deepcopy__(self, memo: dict[int, Any]) -> _Explained:
        # what Lightning logs over processes holds the method, and is copied; the strategy behind it is not
        return self


def _wait_for_own_end() -> None:
    time.sleep(GRACE)
    sys.stderr.write(f"\n{LOST_RANK}\n")
    sys.stderr.flush()


def destroy_group_at_exit() -> None:
    """Leave the group of processes before Python ends: a thread that still listens then may abort Python.

    Lightning does so for NCCL alone.
    """
    atexit.unregister(_destroy_group)  # once, however many fits there are
    atexit.register(_destroy_group)


def _destroy_group() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


# ---- The state of each process -------------------------------------------------------------------------------------


def gather_objects(own: T) -> list[T]:
    """Return the object of each process, by rank; all processes must call this together.

    Raises:
        GANError: If another process has died.
    """
    if not torch.distributed.is_initialized():
        return [own]
    gathered = [own] * torch.distributed.get_world_size()
    with explain_lost_rank():
        torch.distributed.all_gather_object(gathered, own)
    return gathered


def state_of_rank(states: list[dict[str, Any]], rank: int, processes: int) -> dict[str, Any] | None:
    """Return the state that the process of that rank saved; `None`, and a warning, if their number has changed."""
    if len(states) == processes:
        return states[rank]
    rank_zero_warn(
        f"The checkpoint is of {len(states)} processes and goes on in {processes}: networks and optimizers are "
        f"continued exactly, noise and the order of the data are not."
    )
    return None


# ---- Networks spread over the processes ----------------------------------------------------------------------------


def shard(network: nn.Module, mesh: DeviceMesh) -> None:
    """Let each process of the mesh keep a part of the network's parameters, gathered while it computes.

    For networks that outgrow one device (FSDP2, arXiv:2304.11277).
    """
    if isinstance(network, FSDPModule):
        return
    network.to(memory_format=torch.contiguous_format)  # channels_last has no shards
    # The gathered parameters of a trained network stay until its optimizer has stepped: a penalty goes through the
    # network twice, and the graphs of the players overlap. An average only computes forwards.
    trained = any(parameter.requires_grad for parameter in network.parameters())
    sharded = fully_shard(network, mesh=mesh, reshard_after_forward=not trained)
    sharded.set_reshard_after_backward(not trained)


def sharded_modules(networks: Iterable[nn.Module]) -> list[FSDPModule]:
    """Return the networks, or their children, that are spread over processes.

    Their ``reshard()`` forgets gathered parameters after an update, so that the next use gathers the new ones.
    """
    modules = [module for network in networks for module in (network, *network.children())]
    return [module for module in modules if isinstance(module, FSDPModule)]


def is_sharded(tensor: Tensor) -> bool:
    """Return whether each process holds only its part of the tensor."""
    return isinstance(tensor, DTensor)
