"""The losses of all updates: kept on the device and read together, so that no update has to wait for them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gan_modules.engine.players import Losses
from gan_modules.errors import GANError

MOST_UNCHECKED = 1000  # records


def check_losses(player: str, terms: Any) -> None:
    """Refuse what an objective returns unless it is named scalar tensors, one of which can be differentiated.

    Raises:
        GANError: If it is anything else.
    """
    if not isinstance(terms, dict):
        raise GANError(
            f"The {player}'s objective returns {type(terms).__name__}: let it return named terms, "
            f"{{'adversarial': loss}}, or {{}} for no update."
        )
    for term, value in terms.items():
        if not isinstance(value, Tensor) or value.ndim:
            found = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise GANError(f"The {player}'s loss term '{term}' is {found}: it must be a scalar tensor, such as a mean.")
    if not any(value.requires_grad for value in terms.values()):
        raise GANError(
            f"The {player}'s loss depends on no parameter that the {player} owns: check its modules and its objective."
        )


def weighted(terms: Losses, share: float) -> Losses:
    """Return the terms of a part of a batch, weighted by its share of the whole."""
    return terms if share == 1 else {term: value * share for term, value in terms.items()}


def added(total: Losses, terms: Losses) -> Losses:
    """Return the sum of terms so far and those of a further part, detached."""
    detached = {term: value.detach() for term, value in terms.items()}
    return {term: total[term] + value for term, value in detached.items()} if total else detached


class LossRecord(NamedTuple):
    """The detached terms of one update."""

    step: int
    player: str
    phase: str  # its name; "" for the player's main phase
    terms: Losses

    @property
    def key(self) -> str:
        """The player, and the phase's name where it has one: ``discriminator/r1``."""
        return f"{self.player}/{self.phase}" if self.phase else self.player


class LossLog:
    """The newest losses, and the check that all losses are finite."""

    def __init__(self) -> None:
        self._unchecked: list[LossRecord] = []
        self._latest: dict[str, LossRecord] = {}

    def add(self, record: LossRecord) -> None:
        """Add an update's terms without reading them."""
        self._unchecked.append(record)
        self._latest[record.key] = record

    @property
    def full(self) -> bool:
        """Whether so many records are unchecked that it is time to read them."""
        return len(self._unchecked) >= MOST_UNCHECKED

    def check(self, mean: Callable[[Tensor], Tensor] | None = None) -> None:
        """Read all records since the last check.

        Args:
            mean: Of values over all processes, which then all raise together; without it each value is read by itself,
                which is fastest on a CPU.

        Raises:
            GANError: If a term is not finite, naming the first such player, term and step.
        """
        found = [(record, term, value) for record in self._unchecked for term, value in record.terms.items()]
        self._unchecked.clear()
        if not found:
            return
        losses = [value for *_, value in found]
        values = mean(torch.stack(losses)).tolist() if mean else [value.item() for value in losses]
        for (record, term, _), value in zip(found, values, strict=True):
            if not math.isfinite(value):
                raise GANError(
                    f"The {record.player}'s loss term '{term}' became {value} in step {record.step}: training stopped, "
                    f"the last checkpoint is untouched; try a lower learning rate, clip_norm=1.0 or precision 32."
                )

    def state_dict(self) -> dict[str, Any]:
        """Return the newest record of each phase, which may be logged after the run goes on, as plain values."""
        return {
            key: (
                record.step,
                record.player,
                record.phase,
                {term: value.item() for term, value in record.terms.items()},
            )
            for key, record in self._latest.items()
        }

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Restore those records, on the device where further ones will be."""
        for key, (step, player, phase, values) in state.items():
            terms = {term: torch.tensor(value, device=device) for term, value in values.items()}
            self._latest[key] = LossRecord(step, player, phase, terms)

    def latest(self, mean: Callable[[Tensor], Tensor] = lambda values: values) -> dict[str, float]:
        """Return each player's newest terms and their sum, as ``player/term`` and ``player/loss``.

        Args:
            mean: See `check`.
        """
        named: dict[str, Tensor] = {}
        for record in self._latest.values():
            if not record.phase:
                named[f"{record.player}/loss"] = torch.stack(list(record.terms.values())).sum()
            if len(record.terms) > 1 or record.phase:
                named |= {f"{record.player}/{term}": value for term, value in record.terms.items()}
        if not named:  # no phase has had a loss yet
            return {}
        return dict(zip(named, mean(torch.stack(list(named.values()))).tolist(), strict=True))  # one wait for all
