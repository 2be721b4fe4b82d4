"""Samples by their seeds: each its own, whatever it is drawn with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from tqdm import tqdm

from gan_modules.engine.class_names import Labels
from gan_modules.errors import GANError
from gan_modules.families.capabilities import Samples, require
from gan_modules.scoring.generation import sampled_classes


def draw(
    model: Samples,
    seeds: Sequence[int],
    *,
    labels: Labels | None = None,
    truncation: float = 1.0,
    ema: bool = True,
) -> Tensor:
    """Draw one sample a seed, ``(len(seeds), …)`` in [-1, 1]: bit for bit ``model.sample(1, seed=seed)``.

    Args:
        model: The model.
        seeds: The seeds.
        labels: Class indices ``(len(seeds),)``, or one for all; by default seed modulo `num_classes`.
        truncation: See `LatentGAN.sample`.
        ema: Whether to use the averaged generator, where there is one.

    Raises:
        GANError: If the model makes no samples, there is no seed, or the labels do not fit the model.
    """
    require(model, Samples, "draw")
    condition = seed_condition(model, seeds, labels)
    return torch.cat(list(generate_batches(model, seed_latents(model, seeds), condition, 1, truncation, ema)))


def seed_latents(model: Samples, seeds: Sequence[int]) -> Tensor:
    """Return the latents ``(len(seeds), …)`` of single seeds: those of ``model.sample(1, seed=seed)``."""
    return torch.cat([model.draw_latents(1, seed) for seed in seeds])


def seed_condition(model: Samples, seeds: Sequence[int], labels: Labels | None) -> tuple[Tensor, ...]:
    """Return what `sample_condition` does, but that without labels a seed's class is the seed modulo `num_classes`.

    Raises:
        GANError: If there is no seed, or the labels do not fit the model.
    """
    if not seeds:
        raise GANError("There are no seeds: name at least one.")
    if labels is None and (classes := sampled_classes(model)):
        labels = [seed % classes for seed in seeds]
    return model.sample_condition(len(seeds), labels)


def generate_batches(
    model: Samples, z: Tensor, condition: tuple[Tensor, ...], batch_size: int, truncation: float, ema: bool
) -> Iterator[Tensor]:
    """Yield the samples of latents and their conditions, batch by batch, with a progress bar."""
    with tqdm(total=len(z), unit="sample") as bar:
        for part, *parts in zip(*(torch.split(tensor, batch_size) for tensor in (z, *condition)), strict=True):
            yield model.sample_from(part, tuple(parts), truncation=truncation, ema=ema)
            bar.update(len(part))


def check_images(model: Samples, asker: str) -> None:
    """Refuse a model whose samples are no images.

    Raises:
        GANError: If they are of another kind.
    """
    if model.kind != "image":
        raise GANError(
            f"{asker} works on images, and {type(model).__name__} makes samples of kind '{model.kind}': see sample."
        )
