"""The kernel distance: a squared maximum mean discrepancy without bias."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def polynomial_kernel(a: Tensor, b: Tensor) -> Tensor:
    """Return (x·y / D + 1)³ of features ``(N, D)`` and ``(M, D)``, as ``(N, M)`` (1801.01401, Eq. 3)."""
    return (a @ b.T / a.shape[1] + 1) ** 3


def squared_mmd(a: Tensor, b: Tensor) -> Tensor:
    """Return the unbiased estimate of the squared MMD between samples ``(N, D)`` and ``(M, D)``.

    It is the U-statistic of 1801.01401 (Eq. 4), by the polynomial kernel: below zero where the two are alike.
    """
    within = sum(
        (kernel.sum() - kernel.trace()) / (len(kernel) * (len(kernel) - 1))
        for kernel in (polynomial_kernel(a, a), polynomial_kernel(b, b))
    )
    return within - 2 * polynomial_kernel(a, b).mean()


def kernel_distance(
    real: Tensor, fake: Tensor, subsets: int = 100, subset_size: int = 1000, seed: int = 2020
) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over random subsets of the squared MMD (1801.01401), in float64.

    Args:
        real: Features ``(N, D)``.
        fake: Features ``(M, D)``.
        subsets: Subsets over which the mean is taken.
        subset_size: Samples of each; never more than there are.
        seed: Of the subsets, which with torch-fidelity's seed are torch-fidelity's.

    Raises:
        ValueError: There are fewer than two of either.
    """
    size = min(subset_size, len(real), len(fake))
    if size < 2:
        raise ValueError(f"A kernel distance needs two real and two fake samples: there are {len(real)}, {len(fake)}.")
    real, fake = real.double(), fake.double()
    random = np.random.RandomState(seed)

    def some(features: Tensor) -> Tensor:
        chosen = random.choice(len(features), size, replace=False)
        return features[torch.from_numpy(chosen).to(features.device)]

    distances = []
    for _ in range(subsets):
        fakes = some(fake)
        distances.append(squared_mmd(some(real), fakes))
    values = torch.stack(distances)
    return values.mean(), values.std(correction=0)
