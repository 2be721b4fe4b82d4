"""Scores by classes: how sure and how varied a classifier finds samples, and which modes they reach."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor


def inception_score(logits: Tensor, splits: int = 10, seed: int = 2020) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over splits of exp E[KL(p(y|x) ‖ p(y))] (1606.03498, Sec. 4), in float64.

    Args:
        logits: A classifier's logits ``(N, K)`` of the samples.
        splits: Parts of equal size, each of which is scored by itself.
        seed: Of the parts, which with torch-fidelity's seed are torch-fidelity's.

    Raises:
        ValueError: There are fewer samples than splits.

    >>> inception_score(torch.eye(4) * 100, splits=1)[0]  # four samples, of which each is surely another class
    tensor(4.0000, dtype=torch.float64)
    """
    if len(logits) < splits:
        raise ValueError(f"An Inception score over {splits} splits needs as many samples, and there are {len(logits)}.")
    order = np.random.RandomState(seed).permutation(len(logits))
    log_p = logits[torch.from_numpy(order).to(logits.device)].double().log_softmax(dim=1)
    bounds = [len(logits) * i // splits for i in range(splits + 1)]
    scores = []
    for part in (log_p[start:end] for start, end in pairwise(bounds)):
        log_marginal = part.logsumexp(dim=0) - torch.tensor(len(part)).log()
        scores.append((part.exp() * (part - log_marginal)).sum(dim=1).mean().exp())
    values = torch.stack(scores)
    return values.mean(), values.std(correction=0)


def mode_divergence(counts: Tensor, real_counts: Tensor | None = None) -> Tensor:
    """KL(p ‖ q) in nats of the samples' modes p from the data's q, in float64.

    q is estimated by Laplace's rule, (n + 1) / (N + K), so that a mode which no real happens to show is not
    infinitely unlikely; without reals it is uniform, as published for Stacked MNIST (1712.04086, Sec. 4.1).

    Args:
        counts: Samples of each mode, ``(K,)``.
        real_counts: Reals of each mode, ``(K,)``.

    >>> mode_divergence(torch.tensor([5, 0]))  # one mode of two: log 2
    tensor(0.6931, dtype=torch.float64)
    """
    p = counts.double() / counts.sum()
    q = 1 + (torch.zeros_like(p) if real_counts is None else real_counts.double())
    divergence: Tensor = torch.special.xlogy(p, p / (q / q.sum())).sum()
    return divergence
