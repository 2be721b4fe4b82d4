"""Who trains what, in which order: the words that every part of the engine shares."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Literal, TypedDict

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn
from torch.optim import Optimizer

from gan_modules.engine.inputs import Inputs
from gan_modules.errors import GANError

Losses = dict[str, Tensor]  # named, already weighted terms; the engine minimises their sum
Objective = Callable[[Inputs], Losses]
OptimizerFactory = Callable[[list[nn.Parameter]], Optimizer]
Compile = bool | Literal["reduce-overhead"]


class GameOptions(TypedDict, total=False):
    """Arguments that every model hands on to the engine; `gan_modules.GAN` explains them."""

    ema_half_life: float
    accumulate: int
    clip_norm: float | None
    compile: Compile


@dataclass(frozen=True)
class Player:
    """One side of the game: the parameters that it owns, and how they are updated.

    Args:
        modules: The networks whose parameters the player owns.
        optimizer: From the list of parameters to their optimizer.
        schedule: From the number of steps to the factor on the learning rate.
        shares: Names of the players that own some of the same parameters. A parameter in two optimizers is refused
            unless it is declared here.
    """

    modules: tuple[nn.Module, ...]
    optimizer: OptimizerFactory
    schedule: Callable[[int], float] | None
    shares: Collection[str]

    def __init__(
        self,
        modules: nn.Module | Iterable[nn.Module],
        optimizer: OptimizerFactory,
        schedule: Callable[[int], float] | None = None,
        shares: Collection[str] = (),
    ) -> None:
        # a ModuleList is a module and an iterable: one module
        fields = {
            "modules": (modules,) if isinstance(modules, nn.Module) else tuple(modules),
            "optimizer": optimizer,
            "schedule": schedule,
            "shares": shares,
        }
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    def parameters(self) -> list[nn.Parameter]:
        """Return the trainable parameters, each once."""
        found = {id(p): p for module in self.modules for p in module.parameters() if p.requires_grad}
        return list(found.values())


@dataclass(frozen=True)
class Phase:
    """One optimizer step of one player.

    Attributes:
        player: Whose parameters are updated; all others are frozen meanwhile.
        objective: From `Inputs` to the named terms of the loss. Without any term there is no update.
        every: Steps from one update to the next; above 1 for lazy regularization, for which the engine corrects Adam
            (arXiv:1912.04958, App. B).
        repeats: Batches of a step on which the phase is played, the last ones; or a function from the step to it.
        simultaneous: Whether the gradient is computed before any of the neighbouring simultaneous phases updates.
        fresh: Whether the phase gets latents and fakes of its own instead of those that the batch's phases share.
        name: Names the phase in logs where a player has several: its terms are logged as ``player/term``, and only an
            unnamed phase counts as the player's loss.
    """

    player: str
    objective: Objective
    every: int = 1
    repeats: int | Callable[[int], int] = 1
    simultaneous: bool = False
    fresh: bool = False
    name: str = ""

    def __post_init__(self) -> None:
        """Refuse a phase that would never be played.

        Raises:
            GANError: If `every` or `repeats` is below 1.
        """
        if self.every < 1:
            raise GANError(f"every={self.every} must be at least 1: it is a number of steps.")
        if isinstance(self.repeats, int) and self.repeats < 1:
            raise GANError(f"repeats={self.repeats} must be at least 1: it is a number of batches of a step.")

    def batches(self, step: int) -> int:
        """Return the number of batches of the given step on which the phase is played; 0 where it is not due."""
        if step % self.every:
            return 0
        return self.repeats if isinstance(self.repeats, int) else self.repeats(step)


def check_players(
    players: Mapping[str, Player], phases: Collection[Phase], owned: Mapping[str, Sequence[nn.Parameter]]
) -> None:
    """Refuse players and phases that no fit can play.

    Args:
        players: By name.
        phases: Of a step.
        owned: What each player trains.

    Raises:
        GANError: If a phase is of nobody, a player has nothing to train, or two own the same without saying so.
    """
    for phase in phases:
        if phase.player not in players:
            raise GANError(f"A phase updates '{phase.player}', and the players are {', '.join(players)}.")
    for name in players.keys() - {phase.player for phase in phases}:
        rank_zero_warn(f"No phase updates the player '{name}': what it owns will not be trained.")
    if not any(owned.values()):
        raise GANError("All players' parameters are frozen, as model.freeze() leaves them: call model.unfreeze().")
    owners: dict[int, str] = {}
    for name, parameters in owned.items():
        if not parameters:
            raise GANError(
                f"The {name} has no parameter to train: unfreeze some, requires_grad_(True), or leave its phases out."
            )
        for parameter in parameters:
            other = owners.setdefault(id(parameter), name)
            if other != name and other not in players[name].shares:
                raise GANError(
                    f"The players '{other}' and '{name}' own the same parameters, which two optimizers would "
                    f"train: give them to one, or declare it by Player(..., shares=('{other}',)) for '{name}'."
                )


def adam(lr: float, betas: tuple[float, float]) -> OptimizerFactory:
    """Return Adam (arXiv:1412.6980), fused, still to be given its parameters.

    Args:
        lr: Learning rate.
        betas: Decay rates.
    """
    beta1, beta2 = (float(beta) for beta in betas)
    return partial(torch.optim.Adam, lr=lr, betas=(beta1, beta2), fused=True)


def correct_for_lazy_phases(optimizer: Optimizer, phases: Collection[Phase]) -> None:
    """Lower Adam's rate and betas, so that regular and lazy updates together go as far as the regular ones would.

    With one lazy update to k regular ones the factor is c = k / (k + 1): λ' = c·λ, β' = β^c (arXiv:1912.04958, App. B).
    Optimizers without betas add up gradients as they come and stay as they are.

    Args:
        optimizer: Of a player.
        phases: The player's. Without a phase of every step nothing is lazy; repeats that vary count as one.
    """
    updates = [Fraction(phase.repeats if isinstance(phase.repeats, int) else 1, phase.every) for phase in phases]
    regular = sum(count for count, phase in zip(updates, phases, strict=True) if phase.every == 1)
    if not regular:
        return
    factor = float(regular / sum(updates))
    for group in optimizer.param_groups:
        if factor < 1 and "betas" in group:
            group["lr"] *= factor
            group["betas"] = tuple(beta**factor for beta in group["betas"])
