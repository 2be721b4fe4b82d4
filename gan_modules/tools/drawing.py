"""Images by their seeds: each its own, whatever the company it is drawn in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from tqdm import tqdm

from gan_modules.errors import GANError
from gan_modules.families.latent import LatentGAN


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
    condition = seed_condition(model, seeds, labels)
    return torch.cat(list(generate_batches(model, seed_latents(model, seeds), condition, 1, truncation, ema)))


def seed_latents(model: LatentGAN, seeds: Sequence[int]) -> Tensor:
    """The latents ``(len(seeds), latent_dim)`` of single seeds: those of ``model.sample(1, seed=seed)``."""
    return torch.cat([model.latents(1, seed) for seed in seeds])


def seed_condition(
    model: LatentGAN, seeds: Sequence[int], labels: Tensor | Sequence[int] | int | None
) -> tuple[Tensor, ...]:
    """What `LatentGAN.condition` gives, but that a seed has a class of its own where none is named."""
    if not seeds:
        raise GANError("There are no seeds: name at least one.")
    if labels is None and model.num_classes:
        labels = [seed % model.num_classes for seed in seeds]
    return model.condition(len(seeds), labels)


def generate_batches(
    model: LatentGAN, z: Tensor, condition: tuple[Tensor, ...], batch_size: int, truncation: float, ema: bool
) -> Iterator[Tensor]:
    """Images of latents and their condition, batch by batch, with a progress bar."""
    with tqdm(total=len(z), unit="image") as bar:
        for part, *labels in zip(*(torch.split(tensor, batch_size) for tensor in (z, *condition)), strict=True):
            label = next(iter(labels), None)
            yield model.sample(len(part), z=part, labels=label, truncation=truncation, ema=ema)
            bar.update(len(part))
