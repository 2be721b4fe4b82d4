"""Who plays, and the words that every part of the engine shares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypedDict

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

Terms = dict[str, Tensor]  # one player's named, already weighted losses; the engine minimises their sum
OptimizerFactory = Callable[[list[nn.Parameter]], Optimizer]
Compile = bool | Literal["reduce-overhead"]


class GANError(ValueError):
    """A mistake that the caller can mend: one sentence that names the thing and the remedy."""


class GameOptions(TypedDict, total=False):
    """Arguments that every variant hands on to the engine; `gan_modules.base.GAN` says what they mean."""

    ema_half_life: float
    accumulate: int
    clip_norm: float | None
    compile: Compile


@dataclass(frozen=True)
class Player:
    """One side of the game: what it moves, what it minimises, and how it steps.

    Attributes:
        network: The module whose parameters are this player's.
        objective: From what a turn deals to the named terms of the loss.
        optimizer: From the list of parameters to their optimizer.
        schedule: From rounds played to the factor on the learning rate.
    """

    network: nn.Module
    objective: Callable[[Any], Terms]
    optimizer: OptimizerFactory
    schedule: Callable[[int], float] | None = None


def adam(lr: float, betas: tuple[float, float]) -> OptimizerFactory:
    """Adam (arXiv:1412.6980), fused, still to be given its parameters."""
    return partial(torch.optim.Adam, lr=lr, betas=(float(betas[0]), float(betas[1])), fused=True)
