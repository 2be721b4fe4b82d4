"""Number formats: a gradient scaler for each player, and inputs in the precision of a network's weights."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from lightning.pytorch.plugins.precision import Precision
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim import Optimizer

from gan_modules.engine.lightning_compat import takes_scaled_gradients


class Scalers:
    """The gradient scalers of float16 (precision "16-mixed"), one for each player; other precisions need none.

    Lightning's plugin has one, which an overflow of the discriminator would halve for the generator too. So each
    player's takes its place while that player is updated.

    Args:
        plugin: The trainer's precision plugin, whose scaler is the model of all.
        players: Their names.
    """

    def __init__(self, plugin: Precision, players: Iterable[str]) -> None:
        self._plugin: Any = plugin
        model = getattr(plugin, "scaler", None)
        self._of: dict[str, GradScaler] = {} if model is None else {name: copy.deepcopy(model) for name in players}

    def activate(self, player: str) -> None:
        """Let Lightning scale and unscale by this player's scaler, until another is activated."""
        if self._of:
            self._plugin.scaler = self._of[player]

    def unscale(self, optimizer: Optimizer) -> None:
        """Divide the gradients by the active scaler's scale, if a fused optimizer has left that to its step."""
        if self._of and takes_scaled_gradients(optimizer):
            self._plugin.scaler.unscale_(optimizer)

    def state_dict(self) -> dict[str, Any]:
        """Return each player's scale, and since how many updates it holds."""
        return {name: scaler.state_dict() for name, scaler in self._of.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the scales, where this precision has scalers too."""
        for name in self._of.keys() & state.keys():
            self._of[name].load_state_dict(state[name])


def in_own_precision(network: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Convert floating-point inputs to the weights' type: a forward pre-hook for networks in half precision.

    Losses, penalties and noise around the networks stay float32.
    """
    dtype = next(network.parameters()).dtype
    return tuple(x.to(dtype) if isinstance(x, Tensor) and x.is_floating_point() else x for x in inputs)
