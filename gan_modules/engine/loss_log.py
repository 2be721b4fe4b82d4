"""The losses of the moves played: kept on the device, looked at together, so that no step has to wait for them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gan_modules.engine.players import Losses
from gan_modules.errors import GANError

MOST_UNCHECKED = 1000  # moves


def weighted(terms: Losses, share: float) -> Losses:
    """The terms of a part of a batch, by its share of the whole."""
    return terms if share == 1 else {term: value * share for term, value in terms.items()}


def added(total: Losses, terms: Losses) -> Losses:
    """The sum of detached terms and further ones, which are detached."""
    detached = {term: value.detach() for term, value in terms.items()}
    return {term: total[term] + value for term, value in detached.items()} if total else detached


class Move(NamedTuple):
    """One move's detached terms; its name is its player's, or ``player/objective``."""

    round: int
    name: str
    terms: Losses

    @property
    def player(self) -> str:
        """Who moved."""
        return self.name.partition("/")[0]


class LossLog:
    """The last moves played and the check that their losses are finite."""

    def __init__(self) -> None:
        self._unchecked: list[Move] = []
        self._latest: dict[str, Move] = {}

    def enter(self, move: Move) -> None:
        """Add a move's terms, without looking at them."""
        self._unchecked.append(move)
        self._latest[move.name] = move

    @property
    def full(self) -> bool:
        """Whether so many moves are unchecked that they should be looked at."""
        return len(self._unchecked) >= MOST_UNCHECKED

    def check(self, mean: Callable[[Tensor], Tensor] | None = None) -> None:
        """Look at all moves since the last check.

        Args:
            mean: Of values over all processes, which then all raise together; without it each value is looked at by
                itself, which is fastest on a CPU.

        Raises:
            GANError: If a term is not finite, naming the first such player, term and round.
        """
        moves = [(move, term, value) for move in self._unchecked for term, value in move.terms.items()]
        self._unchecked.clear()
        if not moves:
            return
        found = [value for *_, value in moves]
        values = mean(torch.stack(found)).tolist() if mean else [value.item() for value in found]
        for (move, term, _), value in zip(moves, values, strict=True):
            if not math.isfinite(value):
                raise GANError(
                    f"The {move.player}'s loss term '{term}' became {value} in round {move.round}: training stopped, "
                    f"the last checkpoint is untouched; try a lower learning rate, clip_norm=1.0 or precision 32."
                )

    def state_dict(self) -> dict[str, Any]:
        """The newest move of each name, which may be logged after the run went on, as plain values."""
        return {
            name: (move.round, {term: value.item() for term, value in move.terms.items()})
            for name, move in self._latest.items()
        }

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Take up those moves, on the device where further ones will be."""
        for name, (round, values) in state.items():
            terms = {term: torch.tensor(value, device=device) for term, value in values.items()}
            self._latest[name] = Move(round, name, terms)

    def latest(self, mean: Callable[[Tensor], Tensor] = lambda values: values) -> dict[str, float]:
        """Each player's newest terms and the main ones' sum, as ``player/term`` and ``player/loss``.

        Args:
            mean: See `check`.
        """
        named: dict[str, Tensor] = {}
        for move in self._latest.values():
            if main := move.name == move.player:
                named[f"{move.player}/loss"] = torch.stack(list(move.terms.values())).sum()
            if len(move.terms) > 1 or not main:
                named |= {f"{move.player}/{term}": value for term, value in move.terms.items()}
        return dict(zip(named, mean(torch.stack(list(named.values()))).tolist(), strict=True))  # one wait for all
