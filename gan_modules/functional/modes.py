"""How many modes of a known mixture the samples reach: the oldest test of mode collapse."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gan_modules.functional.classes import mode_divergence

FAIR_SHARE = 0.1  # the part of its even share that a mode must receive to count as covered


class Modes(NamedTuple):
    """What `mode_coverage` finds.

    Attributes:
        modes: Modes that the samples cover, 0 to K.
        share: Share of all samples that lie close to a mode, 0 to 1.
        kl: KL in nats of the close samples' modes from the even mixture; NaN where none is close.
    """

    modes: int
    share: float
    kl: float


def mode_coverage(points: Tensor, centres: Tensor, std: float, within: float = 3.0) -> Modes:
    """Covered modes of a mixture of K equal, equally likely Gaussians, and the share of good samples.

    A sample is close to a mode when that is its nearest one and lies at most `within` standard deviations
    away; a mode is covered when a tenth of its even share, N / (10 K) samples, is close to it. After VEEGAN
    (arXiv:1705.07761, section 4), which counts a mode from its first sample.

    Args:
        points: Samples, ``(N, D)``.
        centres: Means of the modes, ``(K, D)``.
        std: Standard deviation of each mode along each axis.
        within: Largest distance of a close sample, in standard deviations.

    >>> mode_coverage(torch.zeros(8, 2), torch.tensor([[0.0, 0.0], [1.0, 1.0]]), std=0.1)
    Modes(modes=1, share=1.0, kl=0.6931471805599453)
    """
    return found_modes(close_to_modes(points, centres, std, within), len(points))


def close_to_modes(points: Tensor, centres: Tensor, std: float, within: float = 3.0) -> Tensor:
    """Samples close to each mode, ``(K,)``; see `mode_coverage`."""
    # the matrix product that cdist prefers cancels digits where clusters are far apart
    distances = torch.cdist(points, centres, compute_mode="donot_use_mm_for_euclid_dist")
    distance, nearest = distances.min(dim=1)
    return torch.bincount(nearest[distance <= within * std], minlength=len(centres))


def found_modes(counts: Tensor, samples: int) -> Modes:
    """What `mode_coverage` says of `samples` samples, of which so many are close to each mode, ``(K,)``."""
    covered = counts >= FAIR_SHARE * samples / len(counts)
    return Modes(int(covered.sum()), int(counts.sum()) / samples, float(mode_divergence(counts)))
