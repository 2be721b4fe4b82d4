"""How much the picture changes along paths through latent space."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def perceptual_path_lengths(
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
