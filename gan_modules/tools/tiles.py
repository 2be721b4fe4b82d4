"""Translations of images of any size: whole, or in overlapping tiles where they are too large for that."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gan_modules.errors import GANError
from gan_modules.families.capabilities import Translates, TranslatesByNetworks
from gan_modules.families.translation import Direction

TILE = 1024  # height and width of a tile, in pixels
OVERLAP = 256  # of neighbouring tiles, in pixels, or half a tile where that is less
UNSEEN = 3 / 8  # share of an overlap at either end in which one tile alone counts; its edge is at the other end


def translate_any_size(
    model: Translates,
    image: Tensor,
    direction: Direction = "AtoB",
    *,
    tile: int = TILE,
    stochastic: bool = False,
    ema: bool = True,
) -> Tensor:
    """Translate an image ``(C, H, W)`` in [-1, 1] of any height and width, at its own size.

    It is continued by its mirror image to what the network can halve. What is larger than a tile is translated in tiles
    that overlap and pass into one another. A pixel then is what it is in the whole image if the network looks no
    further than 96 pixels and keeps no statistics of each image, as instance norm does.

    Args:
        model: The model.
        image: The image.
        direction: See `TranslationGAN.translate`, as all that follows.
        tile: The largest height and width that the network is shown, in pixels.
        stochastic: Each tile has noise of its own.
        ema: Whether to use the average, where there is one.

    Returns:
        The translation ``(C, H, W)`` in [-1, 1] on the CPU; of a model that changes sizes, as many times as large.

    Raises:
        GANError: If the network takes no images of that size, the tile is too small, or the memory is.
    """
    networks = model.translators(ema) if isinstance(model, TranslatesByNetworks) else {}
    multiple = getattr(networks.get(direction), "multiple", 1)
    least = _up(getattr(networks.get(direction), "min_size", 1), multiple)
    if tile < least:
        raise GANError(f"tile={tile} is less than the {least} pixels that the network needs: choose a larger one.")
    largest = tile // multiple * multiple
    _, height, width = image.shape
    sides = [max(least, _up(side, multiple)) for side in (height, width)]
    whole = _mirrored(image, sides)
    shown = [min(side, largest) for side in sides]
    tops, lefts = (_starts(side, size, multiple) for side, size in zip(sides, shown, strict=True))
    made = total = None
    for row, top in enumerate(tops):
        for column, left in enumerate(lefts):
            part = whole[None, :, top : top + shown[0], left : left + shown[1]]
            answer = _translated(model, part, direction, stochastic, ema)
            down, across = (size / seen for size, seen in zip(answer.shape[1:], shown, strict=True))
            if made is None or total is None:
                made = answer.new_zeros(len(answer), round(sides[0] * down), round(sides[1] * across))
                total = answer.new_zeros(made.shape[1:])
            weight = _weight(tops, row, shown[0], down)[:, None] * _weight(lefts, column, shown[1], across)
            place = slice(y := round(top * down), y + len(weight)), slice(x := round(left * across), x + len(weight[0]))
            made[:, *place] += weight * answer
            total[place] += weight
    assert made is not None
    assert total is not None
    return (made / total)[:, : round(height * down), : round(width * across)]


def _translated(model: Translates, part: Tensor, direction: Direction, stochastic: bool, ema: bool) -> Tensor:
    height, width = part.shape[2:]
    try:
        return model.translate(part, direction, stochastic=stochastic, ema=ema)[0].cpu()
    except torch.OutOfMemoryError as error:
        raise GANError(f"{height}x{width} pixels do not fit into the memory: choose a tile of fewer pixels.") from error
    except RuntimeError as error:
        said = str(error).strip().partition("\n")[0]
        raise GANError(
            f"{type(model).__name__} does not translate images of {height}x{width} ({said}): leave the size to it."
        ) from error


def _up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple


def _mirrored(image: Tensor, sides: Sequence[int]) -> Tensor:
    """Continue an image to the right and below by its mirror image, as often as it takes."""
    for axis, side in enumerate(sides, start=1):
        last = image.shape[axis] - 1
        place = torch.arange(side) % max(1, 2 * last)
        image = image.index_select(axis, torch.minimum(place, 2 * last - place).clamp(min=0).to(image.device))
    return image


def _starts(side: int, tile: int, multiple: int) -> list[int]:
    """Return where tiles begin along a side: evenly, each overlapping the next by `OVERLAP` or half a tile at least."""
    if side == tile:
        return [0]
    if tile < 4 * multiple:  # too few places for tiles that are cut where the network would cut the whole image
        multiple = 1
    step = max(1, (tile - min(OVERLAP, tile // 2)) // multiple * multiple)
    count = math.ceil((side - tile) / step)
    return [(side - tile) * index // count // multiple * multiple for index in range(count + 1)]


def _weight(starts: Sequence[int], index: int, tile: int, factor: float) -> Tensor:
    """Return how much each pixel along a tile's answer counts: it gives way to the tiles before and after it."""
    place = (torch.arange(round(tile * factor)) + 0.5) / factor
    weight = torch.ones(len(place))
    if index > 0:
        weight = _rise(place, starts[index - 1] + tile - starts[index])
    if index + 1 < len(starts):
        weight = weight * _rise(tile - place, starts[index] + tile - starts[index + 1])
    return weight


def _rise(distance: Tensor, overlap: int) -> Tensor:
    """Return 0 near the edge that a distance is from, 1 far from it, and a line in the middle of the overlap."""
    return ((distance / max(overlap, 1) - UNSEEN) / (1 - 2 * UNSEEN)).clamp(0, 1)
