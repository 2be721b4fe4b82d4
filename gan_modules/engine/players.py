"""Who plays, and the words that every part of the engine shares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, TypedDict

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

Losses = dict[str, Tensor]  # one player's named, already weighted losses; the engine minimises their sum
OptimizerFactory = Callable[[list[nn.Parameter]], Optimizer]
Compile = bool | Literal["reduce-overhead"]


class GameOptions(TypedDict, total=False):
    """Arguments that every variant hands on to the engine; `gan_modules.GAN` says what they mean."""

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
        further: Other objectives by name, each minimised in moves of its own with the same optimizer: a regularizer
            that is not due in every round. The move of the player "critic" on its "penalty" is "critic/penalty".
    """

    network: nn.Module
    objective: Callable[[Any], Losses]
    optimizer: OptimizerFactory
    schedule: Callable[[int], float] | None = None
    further: Mapping[str, Callable[[Any], Losses]] = field(default_factory=dict)

    def objective_of(self, move: str) -> Callable[[Any], Losses]:
        """What is minimised in the move of that name."""
        _, _, further = move.partition("/")
        return self.further[further] if further else self.objective


def adam(lr: float, betas: tuple[float, float], every: int = 0) -> OptimizerFactory:
    """Adam (arXiv:1412.6980), fused, still to be given its parameters.

    Args:
        lr: Learning rate.
        betas: Decay rates.
        every: Rounds from one further move of the player to the next, whose steps both are then lowered for, so that
            k + 1 steps go as far as k would (arXiv:1912.04958, App. B); 0 where there are none.
    """
    share = every / (every + 1) if every else 1.0
    beta1, beta2 = (float(beta) ** share for beta in betas)
    return partial(torch.optim.Adam, lr=lr * share, betas=(beta1, beta2), fused=True)
