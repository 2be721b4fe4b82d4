"""Modes of a mixture in the plane, counted over processes."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from gan_modules.errors import GANError
from gan_modules.functional.modes import close_to_modes, found_modes


class ModeCoverage(Metric):
    """Modes covered, share of samples near one, KL to the even mixture; see `functional.modes.mode_coverage`.

    Args:
        centres: Means of the modes, ``(K, D)``.
        std: Standard deviation of each mode along each axis.
        within: Largest distance of a close sample, in standard deviations.

    >>> metric = ModeCoverage(torch.tensor([[0.0, 0.0], [1.0, 1.0]]), std=0.1)
    >>> metric.update(torch.zeros(8, 2), real=False)
    >>> metric.compute()
    {'modes': tensor(1.), 'mode_share': tensor(1.), 'mode_kl': tensor(0.6931)}
    """

    names = ("modes", "mode_share", "mode_kl")
    is_differentiable = False
    full_state_update = False
    centres: Tensor
    counts: Tensor
    samples: Tensor

    def __init__(self, centres: Tensor, std: float, within: float = 3.0) -> None:
        super().__init__()
        self.register_buffer("centres", centres)
        self.std = std
        self.within = within
        self.add_state("counts", torch.zeros(len(centres), dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("samples", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, points: Tensor, real: bool) -> None:
        """Add samples ``(N, D)``; reals are ignored."""
        if not real:
            self.counts = self.counts + close_to_modes(points.to(self.device), self.centres, self.std, self.within)
            self.samples = self.samples + len(points)

    def compute(self) -> dict[str, Tensor]:
        """Return the three scores by name, over all processes.

        Raises:
            GANError: If there are no samples.
        """
        if not self.samples:
            raise GANError("ModeCoverage cannot score: there are no samples.")
        found = found_modes(self.counts, int(self.samples))
        return {name: torch.tensor(float(value)) for name, value in zip(self.names, found, strict=True)}
