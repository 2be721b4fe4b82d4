"""Images with the captions they were made of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from PIL import Image
from torch import Tensor

from gan_modules.visuals.pictures import as_image, as_tensor, enlarge, visible
from gan_modules.visuals.sheets import LINE, shorten, write

CELL = 128  # the least height and width of an image, in pixels
LINES = 2  # of a caption
GAP = 8  # between images, in pixels


def captioned_grid(images: Tensor, captions: Sequence[str], nrow: int | None = None) -> Tensor:
    """Draw images ``(N, C, H, W)`` in [-1, 1] as an RGB picture, each with its caption beneath, cut where it is long.

    Args:
        images: The images; of their channels, see `visible`.
        captions: A caption each.
        nrow: Images in a row; by default as many as make a square.
    """
    cells = enlarge(visible(images), CELL).cpu()
    columns = nrow or math.ceil(math.sqrt(len(cells)))
    height, width = cells.shape[-2] + LINES * LINE + GAP, cells.shape[-1] + GAP
    canvas = Image.new("RGB", (GAP + columns * width, GAP + math.ceil(len(cells) / columns) * height), "white")
    for index, (cell, caption) in enumerate(zip(cells, captions, strict=True)):
        x, y = GAP + index % columns * width, GAP + index // columns * height
        canvas.paste(as_image(cell), (x, y))
        write(canvas, (x, y + cells.shape[-2] + 1), shorten(caption, cells.shape[-1], LINES))
    return as_tensor(canvas)


def words_of(data: Any, tokens: Tensor) -> list[str]:
    """Return captions of tokens ``(N, L)``: by the data's `decode_captions`, else the tokens themselves.

    Args:
        data: A datamodule, or `None`. Its `decode_captions`, where it has one, takes tokens ``(N, L)`` and returns N
            strings.
        tokens: The tokens.
    """
    decode = getattr(data, "decode_captions", None)
    return [" ".join(map(str, row)) for row in tokens.tolist()] if decode is None else list(decode(tokens))
