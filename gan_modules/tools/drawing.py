"""Images by their seeds: each its own, whatever the company it is drawn in."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from tqdm import tqdm

from gan_modules.base import GANError, LatentGAN


def seed_latents(model: LatentGAN, seeds: Sequence[int]) -> Tensor:
    """The latents ``(len(seeds), latent_dim)`` of single seeds: those of ``model.sample(1, seed=seed)``."""
    return torch.cat([torch.randn(1, model.latent_dim, generator=torch.Generator().manual_seed(s)) for s in seeds])


def draw(
    model: LatentGAN,
    seeds: Sequence[int],
    *,
    labels: Tensor | Sequence[int] | int | None = None,
    truncation: float = 1.0,
    ema: bool = True,
) -> Tensor:
    """Draw one image a seed, ``(len(seeds), C, H, W)`` in [-1, 1]: bit for bit ``model.sample(1, seed=seed)``.

    Args:
        model: The model.
        seeds: The seeds.
        labels: Class indices ``(len(seeds),)``, or one for all; by default seed modulo `num_classes`.
        truncation: See `LatentGAN.sample`.
        ema: Whether to use the averaged generator, where there is one.

    Raises:
        GANError: If there is no seed, or the labels do not fit the model.
    """
    condition = [part.split(1) for part in seed_condition(model, seeds, labels)]
    alone = zip(seeds, *condition, strict=True)
    return torch.cat(
        [
            model.sample(1, seed=seed, labels=label[0] if label else None, truncation=truncation, ema=ema)
            for seed, *label in tqdm(alone, total=len(seeds), unit="image")
        ]
    )


def seed_condition(
    model: LatentGAN, seeds: Sequence[int], labels: Tensor | Sequence[int] | int | None
) -> tuple[Tensor, ...]:
    """What `LatentGAN.condition` gives, but that a seed has a class of its own where none is named."""
    if not seeds:
        raise GANError("There are no seeds: name at least one.")
    if labels is None and model.num_classes:
        labels = [seed % model.num_classes for seed in seeds]
    return model.condition(len(seeds), labels)
