"""Scores by nearest neighbours: what lies on whose manifold, what is whose twin.

Distances are Euclidean, in float64, a block of rows at a time: 50,000 against 50,000 samples need little memory.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

BLOCK = 2**24  # distances held at a time: 128 MiB


def nearest_distances(points: Tensor, others: Tensor | None = None, k: int = 1) -> Tensor:
    """Distance ``(N,)`` of each point ``(N, D)`` to its k-th nearest of the others ``(M, D)``.

    Args:
        points: Where from.
        others: Where to; by default the points themselves, none of which is its own neighbour.
        k: Which neighbour, from 1.

    Raises:
        ValueError: There are fewer than k neighbours.
    """
    neighbours = len(points) - 1 if others is None else len(others)
    if neighbours < k:
        raise ValueError(f"Neighbour number {k} is asked for, and each sample has {neighbours}: take more samples.")
    found = []
    for start, block in _blocks(points, points if others is None else others):
        if others is None:
            rows = torch.arange(len(block), device=block.device)
            block[rows, start + rows] = torch.inf
        found.append(block.kthvalue(k, dim=1).values)
    return torch.cat(found)


def precision_recall(real: Tensor, fake: Tensor, k: int = 3) -> tuple[Tensor, Tensor]:
    """Share of fakes on the reals' manifold, and of reals on the fakes' (1904.06991, Eq. 1 and 2).

    A manifold is the union of balls around its samples, each of which reaches to the k-th nearest other.

    Args:
        real: Features ``(N, D)``.
        fake: Features ``(M, D)``.
        k: The paper's k.

    Raises:
        ValueError: There are no more than k of either.
    """
    real_radii, fake_radii = nearest_distances(real, k=k), nearest_distances(fake, k=k)
    on_manifold = []
    reached = torch.zeros(len(real), dtype=torch.bool, device=real.device)
    for start, block in _blocks(fake, real):
        on_manifold.append((block <= real_radii).any(dim=1))
        reached |= (block <= fake_radii[start : start + len(block), None]).any(dim=0)
    return torch.cat(on_manifold).double().mean(), reached.double().mean()


def density_coverage(real: Tensor, fake: Tensor, k: int = 5) -> tuple[Tensor, Tensor]:
    """Reals' balls around a fake, over k, and the share of reals with a fake in their ball (2002.09797, Eq. 3 and 4).

    Args:
        real: Features ``(N, D)``.
        fake: Features ``(M, D)``.
        k: The paper's k: a real's ball reaches to its k-th nearest real.

    Raises:
        ValueError: There are no more than k reals, or no fakes.
    """
    radii = nearest_distances(real, k=k)
    nearest_fake = nearest_distances(real, fake)
    balls = torch.cat([(block <= radii).sum(dim=1) for _, block in _blocks(fake, real)])
    return balls.double().mean() / k, (nearest_fake <= radii).double().mean()


def duplicate_rates(real: Tensor, fake: Tensor, quantile: float = 0.01, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Share of fakes with a near twin among the fakes, and with one among the reals (memorised).

    Near is what is rare among reals: the distance within which only a share `quantile` of as many reals has a
    neighbour. So both rates are about `quantile` for fresh samples of the reals' distribution, and 1 for copies.

    Args:
        real: Features ``(N, D)``: of training images, for memorisation to be seen.
        fake: Features ``(M, D)``.
        quantile: The share of reals that pass for twins.
        seed: Of the images that count for the first rate, where there are more of one kind than of the other.

    Raises:
        ValueError: There are fewer than two of either.
    """
    fewer = min(len(real), len(fake))  # of either: the more images, the nearer the nearest
    as_many = nearest_distances(_some(real, fewer, seed))
    rounding = 1e-6 * (fake.double() - real.double().mean(dim=0)).norm(dim=1).mean()  # equals may seem so far apart
    among_fakes, among_reals = (
        torch.quantile(distances, quantile) + rounding for distances in (as_many, nearest_distances(real))
    )
    twins = nearest_distances(_some(fake, fewer, seed)) <= among_fakes
    memorised = nearest_distances(fake, real) <= among_reals
    return twins.double().mean(), memorised.double().mean()


def _some(features: Tensor, n: int, seed: int) -> Tensor:
    chosen = np.random.RandomState(seed).permutation(len(features))[:n]
    return features[torch.from_numpy(chosen).to(features.device)]


def memorization_distance(real: Tensor, fake: Tensor) -> Tensor:
    """Mean over the fakes of the least cosine distance 1 - |cos| to a real (2106.03062, Sec. 4.2), in float64.

    Args:
        real: Features of the training images, ``(N, D)``.
        fake: Features ``(M, D)``.
    """
    real, fake = (torch.nn.functional.normalize(features.double(), dim=1) for features in (real, fake))
    nearest = [1 - (part @ real.T).abs().amax(dim=1) for part in torch.split(fake, max(1, BLOCK // len(real)))]
    return torch.cat(nearest).clamp(min=0).mean()


def _blocks(points: Tensor, others: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Distances of some points to all others, ``(n, M)``, behind the place of the first."""
    middle = others.double().mean(dim=0)  # whose removal keeps digits: distances come from products
    points, others = points.double() - middle, others.double() - middle
    rows = max(1, BLOCK // max(len(others), 1))
    for start in range(0, len(points), rows):
        part = points[start : start + rows]
        yield start, torch.cdist(part, others, compute_mode="use_mm_for_euclid_dist")
