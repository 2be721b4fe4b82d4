"""Exponential moving averages of networks, with a half-life counted in images."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from gan_modules.engine.distributed import is_sharded

RAMP_UP = 0.05  # share of the images seen so far that the half-life may not exceed (arXiv:2006.06676)


class MovingAverages:
    """Averaged copies of networks that follow them round by round.

    Floating-point buffers (BatchNorm's statistics) are averaged like the weights they belong to; counts stay put.

    Args:
        half_life: Images after which a weight's share has halved; 0 keeps no averages.
    """

    def __init__(self, half_life: float) -> None:
        self.half_life = half_life
        self.images_averaged = 0  # images seen by the game at the last update
        self._pairs: list[tuple[nn.Module, nn.Module]] = []
        self._tensors: list[tuple[list[Tensor], list[Tensor]]] = []

    def follow(self, network: nn.Module) -> nn.Module | None:
        """A frozen copy of `network` that `update` will move after it; `None` where no averages are kept."""
        if not self.half_life:
            return None
        average = copy.deepcopy(network).requires_grad_(False).eval()
        self._pairs.append((average, network))
        return average

    def tensor_ids(self) -> set[int]:
        """The `id` of each averaged tensor."""
        return {id(t) for average, _ in self._pairs for t in (*average.parameters(), *average.buffers())}

    def prepare(self) -> None:
        """Look up the tensors once, when the networks are on their device for good."""
        self._tensors = []
        for average, network in self._pairs:
            ours, theirs = ([*module.parameters(), *module.buffers()] for module in (average, network))
            pairs = [(own, new.detach()) for own, new in zip(ours, theirs, strict=True) if new.is_floating_point()]
            for sharded in (True, False):  # which do not mix in one operation
                group = [pair for pair in pairs if is_sharded(pair[0]) is sharded]
                if group:
                    self._tensors.append(([own for own, _ in group], [new for _, new in group]))

    @torch.no_grad()
    def update(self, images_seen: int) -> None:
        """Move each average towards its network by as much as the images since the last update ask for."""
        half_life = min(self.half_life, RAMP_UP * images_seen)
        weight = 1.0 - 0.5 ** ((images_seen - self.images_averaged) / half_life) if half_life else 1.0
        self.images_averaged = images_seen
        for ours, theirs in self._tensors:
            torch._foreach_lerp_(ours, [new.to(own.dtype) for own, new in zip(ours, theirs, strict=True)], weight)
