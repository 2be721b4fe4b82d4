"""Exponential moving averages (EMA) of networks, with a half-life counted in images."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from gan_modules.engine.distributed import is_sharded
from gan_modules.engine.lightning_compat import lerp_all

RAMP_UP = 0.05  # share of the images seen so far that the half-life may not exceed (arXiv:2006.06676)


class MovingAverages:
    """Averaged copies of networks, updated once a step.

    Floating-point buffers (BatchNorm's statistics) are averaged like the weights they belong to. Counts stay as they
    are. The vectors of spectral normalization are copied: an average of unit vectors is none, and would make the
    averaged network's singular values larger than 1.

    Args:
        half_life: Images after which a weight's share has halved; 0 keeps no averages.
    """

    def __init__(self, half_life: float) -> None:
        self.half_life = half_life
        self.images_averaged = 0  # images seen by the game at the last update
        self._pairs: dict[str, tuple[nn.Module, nn.Module]] = {}  # the average and its network, by the network's name
        self._averaged: list[tuple[list[Tensor], list[Tensor]]] = []
        self._copied: list[tuple[Tensor, Tensor]] = []

    def track(self, name: str, network: nn.Module) -> nn.Module | None:
        """Return a frozen copy that `update` will move after the network; `None` where no averages are kept."""
        if not self.half_life:
            return None
        average = copy.deepcopy(network).requires_grad_(False).eval()
        self._pairs[name] = (average, network)
        return average

    def tracks(self, name: str, network: nn.Module) -> bool:
        """Return whether the average of that name is of this very network, as it now is."""
        if name not in self._pairs:
            return False
        average, source = self._pairs[name]
        return source is network and _shapes(average) == _shapes(network)

    def names(self) -> list[str]:
        """Return the names of the networks that have averages."""
        return list(self._pairs)

    def tensor_ids(self) -> set[int]:
        """Return the `id` of each averaged tensor."""
        return {id(t) for average, _ in self._pairs.values() for t in (*average.parameters(), *average.buffers())}

    def prepare(self) -> None:
        """Look up the tensors once, when the networks are on their device for good."""
        for average, _ in self._pairs.values():
            average.requires_grad_(False).eval()  # `LightningModule.unfreeze` reaches them too
        self._averaged, self._copied = [], []
        averaged: list[tuple[Tensor, Tensor]] = []
        for average, network in self._pairs.values():
            copied = _spectral_vectors(network)
            ours, theirs = ([*module.parameters(), *module.buffers()] for module in (average, network))
            for own, new in zip(ours, theirs, strict=True):
                if new.is_floating_point():
                    (self._copied if id(new) in copied else averaged).append((own, new.detach()))
        for sharded in (True, False):  # which do not mix in one operation
            group = [pair for pair in averaged if is_sharded(pair[0]) is sharded]
            if group:
                self._averaged.append(([own for own, _ in group], [new for _, new in group]))

    @torch.no_grad()
    def update(self, images_seen: int) -> None:
        """Move each average towards its network by as much as the images since the last update ask for."""
        half_life = min(self.half_life, RAMP_UP * images_seen)
        weight = 1.0 - 0.5 ** ((images_seen - self.images_averaged) / half_life) if half_life else 1.0
        self.images_averaged = images_seen
        for ours, theirs in self._averaged:
            lerp_all(ours, [new.to(own.dtype) for own, new in zip(ours, theirs, strict=True)], weight)
        for own, new in self._copied:
            own.copy_(new)

    def images_of_full_half_life(self) -> int:
        """Return after how many images the average has its full half-life."""
        return math.ceil(self.half_life / RAMP_UP)


def _shapes(network: nn.Module) -> dict[str, torch.Size]:
    return {
        name: tensor.shape for name, tensor in network.state_dict(keep_vars=True).items() if isinstance(tensor, Tensor)
    }


def _spectral_vectors(network: nn.Module) -> set[int]:
    """Return the `id` of the vectors u and v of spectral normalization, as a parametrization or as a hook."""
    found = set()
    for module in network.modules():
        for name, buffer in module.named_buffers(recurse=False):
            if name in ("_u", "_v") or (name.endswith(("_u", "_v")) and hasattr(module, f"{name[:-2]}_orig")):
                found.add(id(buffer))
    return found
