"""Paths through latent space, and how much the picture changes along them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Points between latents ``(N, D)`` along great circles, at t ``(N, 1)`` from 0 to 1.

    Norms go from that of `a` to that of `b`; latents that point the same way are connected by a line.
    """
    cosine = torch.cosine_similarity(a, b, dim=1).clamp(-1, 1)[:, None]
    angle = cosine.acos()
    straight = angle < 1e-4
    sine = torch.where(straight, 1, angle.sin())
    return torch.where(straight, torch.lerp(a, b, t), ((1 - t) * angle).sin() / sine * a + (t * angle).sin() / sine * b)


def path_lengths(
    generate: Callable[[Tensor], Tensor],
    embed: Callable[[Tensor], Tensor],
    start: Tensor,
    end: Tensor,
    epsilon: float = 1e-4,
) -> Tensor:
    """Return d(G(start), G(end)) / ε² of each pair of latents, d being the squared distance of embeddings ``(N,)``.

    Args:
        generate: From latents ``(N, D)`` to images.
        embed: From images to what a squared distance compares, ``(N, F)``.
        start: Latents at t, ``(N, D)``.
        end: Latents at t + ε.
        epsilon: The step on the way from the one end to the other.
    """
    first, second = embed(generate(start)), embed(generate(end))
    return (first.double() - second.double()).square().sum(dim=1) / epsilon**2


def trimmed_mean(values: Tensor, share: float = 0.01) -> Tensor:
    """Mean of what lies between the lowest and the highest `share` of the values, as the authors of 1812.04948 do."""
    low = torch.quantile(values, share, interpolation="lower")
    high = torch.quantile(values, 1 - share, interpolation="higher")
    return values[(values >= low) & (values <= high)].mean()
