"""Styles of some images with styles of others (arXiv:1812.04948, Fig. 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from gan_modules.errors import GANError
from gan_modules.families.capabilities import HasStyles, Samples, require
from gan_modules.tools.drawing import check_images, seed_condition, seed_latents
from gan_modules.visuals.sheets import sheet


@dataclass(frozen=True)
class Mixture:
    """Images of two sets of seeds, and of each pair of them.

    Attributes:
        row_seeds: Seeds of the sources whose layers are replaced.
        column_seeds: Seeds of the sources that give the layers in `styles`.
        styles: Which layers of w.
        rows: Images ``(R, C, H, W)`` of the first sources.
        columns: Images ``(K, C, H, W)`` of the second.
        images: Images ``(R, K, C, H, W)`` of the mixtures.
    """

    row_seeds: Sequence[int]
    column_seeds: Sequence[int]
    styles: Sequence[int]
    rows: Tensor
    columns: Tensor
    images: Tensor

    def picture(self) -> Image.Image:
        """The published sheet: sources at the top and the left, named by their seeds, mixtures where they meet."""
        cells = [[None, *self.columns], *([row, *images] for row, images in zip(self.rows, self.images, strict=True))]
        corner = f"styles\n{_words(self.styles)}"
        return sheet(cells, ["", *map(str, self.column_seeds)], [corner, *map(str, self.row_seeds)])


def mix(
    model: Samples,
    rows: Sequence[int],
    columns: Sequence[int],
    *,
    styles: Sequence[int] = range(4),
    labels: int | str | None = None,
    truncation: float = 1.0,
    ema: bool = True,
) -> Mixture:
    """Give each image of one set of seeds the styles of each image of another, in some of the layers.

    Coarse styles, of the first layers, are pose and shape; the middle ones features; the fine ones colours. All
    images have the generator's constant noise.

    Args:
        model: A style-based model.
        rows: Seeds of the images that keep their other layers.
        columns: Seeds of the images that give the layers in `styles`.
        styles: Indices of layers of w, from 0; the first four are those of 4×4 and 8×8, or of 4×4 to 16×16.
        labels: Class of all images; by default seed modulo `num_classes`.
        truncation: Towards the mean w; below 1 for less variety.
        ema: Whether to use the averaged generator, where there is one.

    Raises:
        GANError: If the model has no styles, makes no images, has no such layers, or there are no seeds.
    """
    model = require(model, HasStyles, "mix")
    check_images(model, "mix")
    targets, sources = (
        model.to_styles(seed_latents(model, seeds), condition, truncation=truncation, ema=ema)
        for seeds, condition in [(seeds, seed_condition(model, seeds, labels)) for seeds in (rows, columns)]
    )
    layers = list(styles)
    if not layers or min(layers) < 0 or max(layers) >= targets.shape[1]:
        raise GANError(
            f"There are no styles {_words(styles)} in this {type(model).__name__}: it has 0-{targets.shape[1] - 1}."
        )
    images = []
    for target in tqdm(targets, unit="row"):
        mixed = target.repeat(len(sources), 1, 1)
        mixed[:, layers] = sources[:, layers]
        images.append(model.from_styles(mixed, ema=ema))
    own = [model.from_styles(part, ema=ema) for part in (targets, sources)]
    return Mixture(list(rows), list(columns), layers, own[0], own[1], torch.stack(images))


def _words(numbers: Sequence[int]) -> str:
    """Numbers as ranges: 0-3,7."""
    ranges: list[list[int]] = []
    for number in sorted(set(numbers)):
        if ranges and ranges[-1][-1] == number - 1:
            ranges[-1].append(number)
        else:
            ranges.append([number])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in ranges) or "none"
