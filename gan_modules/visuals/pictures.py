"""Samples as pictures: grids of images and scatters of points, uint8 ``(C, H, W)``."""

from __future__ import annotations

import math

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torchvision.utils import make_grid

from gan_modules.functional.pixels import to_uint8 as to_uint8

CELL = 32  # the least height and width of an image in a grid, in pixels
CANVAS = 512  # height and width of a scatter, in pixels
DOT = 5  # width of a point in a scatter, in pixels
OPACITY = 0.4  # of one point; where many overlap, the colour deepens
GREY, BLUE = (0.55, 0.55, 0.55), (0.0, 0.25, 0.85)


def as_image(picture: Tensor) -> Image.Image:
    """Return Pillow's image of a picture uint8 ``(C, H, W)``: grey or RGB, with alpha where C is 2 or 4."""
    pixels = picture.permute(1, 2, 0).cpu().numpy()
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def as_tensor(image: Image.Image) -> Tensor:
    """Return Pillow's RGB image as a picture uint8 ``(3, H, W)``."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def visible(images: Tensor) -> Tensor:
    """Return images ``(N, C, H, W)`` in [-1, 1] as uint8 grey or RGB, by the first channel or the first three."""
    return to_uint8(images)[:, : 3 if images.shape[1] >= 3 else 1]


def enlarge(images: Tensor, cell: int = CELL) -> Tensor:
    """Repeat each pixel of images ``(N, C, H, W)`` until they are at least `cell` pixels high and wide."""
    factor = math.ceil(cell / min(images.shape[-2:]))
    return images.repeat_interleave(factor, dim=-2).repeat_interleave(factor, dim=-1)


def image_grid(images: Tensor, nrow: int | None = None, cell: int = CELL) -> Tensor:
    """Draw images ``(N, C, H, W)`` in [-1, 1] side by side, tiny ones enlarged, as an RGB picture.

    Args:
        images: Images; see `visible`.
        nrow: Images in a row; by default as many as make a square.
        cell: The least height and width of an image, in pixels.
    """
    images = enlarge(visible(images), cell)
    grid: Tensor = make_grid(images, nrow=nrow or math.ceil(math.sqrt(len(images))), pad_value=255)
    return grid


def scatter(points: Tensor, reals: Tensor) -> Tensor:
    """Draw points ``(N, 2)`` in blue over reals ``(M, 2)`` in grey, on a white square framed by the reals."""
    points, reals = points.float().cpu(), reals.float().cpu()
    extent = 1.25 * reals.abs().max()
    canvas = torch.ones(3, CANVAS, CANVAS)
    for layer, colour in ((reals, GREY), (points, BLUE)):
        ink = 1 - (1 - OPACITY) ** _density(layer / extent)
        canvas += ink * (torch.tensor(colour).view(3, 1, 1) - canvas)
    return to_uint8(canvas * 2 - 1)


def _density(points: Tensor) -> Tensor:
    """Count the dots that cover each pixel of a canvas over [-1, 1]², x to the right and y upwards."""
    points = points[points.abs().amax(dim=1) < 1]
    column, row = ((points * torch.tensor([1.0, -1.0]) + 1) / 2 * CANVAS).long().unbind(dim=1)
    counts = torch.zeros(CANVAS, CANVAS).index_put_((row, column), torch.ones(len(points)), accumulate=True)
    return F.avg_pool2d(counts[None], DOT, stride=1, padding=DOT // 2)[0] * DOT**2
