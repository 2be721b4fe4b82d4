"""The Frechet distance between Gaussians, in float64: covariances of few samples are singular."""

from __future__ import annotations

import torch
from torch import Tensor


def mean_and_covariance(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean ``(D,)`` and unbiased covariance ``(D, D)`` of features ``(N, D)``, in float64.

    Raises:
        ValueError: There are fewer than two.
    """
    if len(features) < 2:
        raise ValueError(f"A covariance needs at least two samples, and there are {len(features)}.")
    features = features.double()
    mean = features.mean(dim=0)
    centred = features - mean
    return mean, centred.T @ centred / (len(features) - 1)


def frechet_distance(mean: Tensor, covariance: Tensor, other_mean: Tensor, other_covariance: Tensor) -> Tensor:
    """Return ‖m - m'‖² + tr(C + C' - 2 (C C')^½) of two Gaussians (1706.08500, Eq. 6), in float64.

    >>> zero, one = torch.zeros(3), torch.eye(3)
    >>> frechet_distance(zero, one, zero + 1, 4 * one)  # 3 · 1² + 3 · (2 - 1)²
    tensor(6., dtype=torch.float64)
    """
    root = trace_of_root(covariance.double(), other_covariance.double())
    traces = covariance.double().trace() + other_covariance.double().trace()
    distance = (mean.double() - other_mean.double()).square().sum() + traces - 2 * root
    return distance.clamp(min=0)  # rounding must not take equals below zero


def trace_of_root(a: Tensor, b: Tensor) -> Tensor:
    """Return tr (A B)^½ of symmetric, positive semidefinite matrices ``(D, D)`` that may be singular.

    Where A = L Lᵀ, A B has the eigenvalues of the symmetric Lᵀ B L, whose square roots need no more than
    eigenvalues. Cholesky's L is the cheapest; a singular A has none, and gets one as wide as its rank.
    """
    factor, failed = torch.linalg.cholesky_ex(a)
    if failed:
        values, vectors = torch.linalg.eigh(a)
        kept = values > torch.finfo(a.dtype).eps * values[-1]  # the rest is rounding, negative ones too
        factor = vectors[:, kept] * values[kept].sqrt()
    roots: Tensor = torch.linalg.eigvalsh(factor.T @ b @ factor).clamp(min=0).sqrt()
    return roots.sum()
