"""Augmentations that leave a generator no trace to imitate: the pipeline "bgc" of ADA (2006.06676, App. B).

Pixel blitting (b), general geometric transformations (g) and colour transformations (c), each drawn for each image with
probability p. All is differentiable with respect to the images, twice.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from gan_modules.functional.precision import at_least_float32
from gan_modules.functional.upfirdn import downsample, upsample

# The orthogonal lowpass filter of the wavelet sym6 (Daubechies, Ten Lectures on Wavelets, 1992), with sum 1: what it
# has upsampled, its adjoint brings back exactly.
SYM6 = tuple(
    tap / math.sqrt(2)
    for tap in (
        0.015404109327027373,
        0.0034907120842174702,
        -0.11799011114819057,
        -0.048311742585633,
        0.4910559419267466,
        0.787641141030194,
        0.3379294217276218,
        -0.07263752278646252,
        -0.021060292512300564,
        0.04472490177066578,
        0.0017677118642428036,
        -0.007800708325034148,
    )
)
REACH = len(SYM6) // 4  # pixels to either side that the filter sees


def augment_bgc(images: Tensor, p: Tensor | float) -> Tensor:
    """Transform images (N, C, H, W) at random, each in its own way (2006.06676, App. B, Fig. 21).

    Colours change where C is 3, or 1, for which only brightness and contrast are left; with other channels they stay.

    Args:
        images: In [-1, 1], with H and W of 8 or more.
        p: Probability of each transformation, a scalar; above 1 it is 1.
    """
    with torch.autocast(images.device.type, enabled=False):
        images = at_least_float32(images)
        images = warp(images, random_transform(len(images), images.shape[2:], images.device, p))
        if images.shape[1] in (1, 3):
            images = recolour(images, random_colour(len(images), images.device, p))
    return images


def random_transform(n: int, size: Sequence[int], device: torch.device, p: Tensor | float) -> Tensor:
    """Draw geometric transformations (N, 3, 3) for `warp`, of images of `size` (H, W)."""

    def uniform(columns: int = 1) -> Tensor:
        return torch.rand(n, columns, dtype=torch.float32, device=device)

    def normal(columns: int = 1) -> Tensor:
        return torch.randn(n, columns, dtype=torch.float32, device=device)

    def maybe(values: Tensor, p: Tensor | float = p) -> Tensor:
        return torch.where(uniform() < p, values, 0.0)

    extent = torch.tensor(size[::-1], dtype=torch.float32).to(device, non_blocking=True)
    # Of the rotations before and after the anisotropic scaling, one at least happens with probability p.
    p_rotation = 1 - (1 - torch.as_tensor(p)).clamp(min=0).sqrt()
    mirrored = 1 - 2 * maybe((uniform() * 2).floor())
    stretch = 2 ** maybe(0.2 * normal())
    steps = [
        _scaling(torch.cat([mirrored, torch.ones_like(mirrored)], 1)),
        _rotation(maybe((uniform() * 4).floor() * (math.pi / 2))),
        _translation((maybe(uniform(2) * 0.25 - 0.125) * extent).round()),
        _scaling(2 ** maybe(0.2 * normal()).expand(n, 2)),
        _rotation(maybe((uniform() * 2 - 1) * math.pi, p_rotation)),
        _scaling(torch.cat([stretch, 1 / stretch], 1)),
        _rotation(maybe((uniform() * 2 - 1) * math.pi, p_rotation)),
        _translation(maybe(0.125 * normal(2)) * extent),
    ]
    transform = steps[0]
    for step in steps[1:]:
        transform = transform @ step
    return transform


def warp(images: Tensor, transform: Tensor) -> Tensor:
    """Move pixels: bilinear lookup in images upsampled by an orthogonal filter, which the way back undoes.

    What lies outside is the image's reflection. The authors pad by as much of it as the transformations need; here
    the lookup is folded back at the outermost pixels, so that no size depends on the draw.

    Args:
        images: (N, C, H, W), with H and W of 8 or more.
        transform: (N, 3, 3), from an output's pixel (x, y, 1) to the input's, both counted from the image's centre.
    """
    height, width = images.shape[2:]
    transform = transform.to(images.dtype)
    margin = REACH + 1
    source = upsample(F.pad(images, [margin + REACH] * 4, mode="reflect"), SYM6)
    source = source[..., 2 * REACH : -2 * REACH, 2 * REACH : -2 * REACH]
    # The filter puts a pixel's middle on the first of its two samples. The output's samples reach as far beyond it
    # as the filter sees on the way back.
    x, y = (
        torch.arange(0.5 - REACH - side / 2, 0.25 + REACH + side / 2, 0.5, dtype=images.dtype, device=images.device)
        for side in (width, height)
    )
    places = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).flatten(0, 1)
    places = places @ transform[:, :2, :2].mT + transform[:, None, :2, 2]
    half = torch.tensor([width / 2, height / 2], dtype=images.dtype).to(images.device, non_blocking=True)
    mirror = half - 0.5
    folded = mirror - ((places + mirror) % (4 * mirror) - 2 * mirror).abs()
    places = torch.where(places.abs() <= half + REACH, places, folded)
    grid = ((places - 0.25) / (half + margin)).reshape(-1, len(y), len(x), 2)
    samples = F.grid_sample(source, grid, align_corners=False)
    return downsample(samples, SYM6)[..., REACH:-REACH, REACH:-REACH]


def random_colour(n: int, device: torch.device, p: Tensor | float) -> Tensor:
    """Draw colour transformations (N, 3, 4) for `recolour`: brightness, contrast, luma flip, hue, saturation."""

    def maybe(values: Tensor) -> Tensor:
        return torch.where(torch.rand(n, 1, 1, dtype=torch.float32, device=device) < p, values, 0.0)

    def normal() -> Tensor:
        return torch.randn(n, 1, 1, dtype=torch.float32, device=device)

    def uniform() -> Tensor:
        return torch.rand(n, 1, 1, dtype=torch.float32, device=device)

    return colour_matrix(
        brightness=maybe(0.2 * normal()),
        contrast=2 ** maybe(0.5 * normal()),
        luma=1 - 2 * maybe((uniform() * 2).floor()),
        hue=maybe((uniform() * 2 - 1) * math.pi),
        saturation=2 ** maybe(normal()),
    )


def colour_matrix(brightness: Tensor, contrast: Tensor, luma: Tensor, hue: Tensor, saturation: Tensor) -> Tensor:
    """Compose colour transformations (N, 3, 4) with respect to the axis of greys, v = (1, 1, 1)/√3.

    Args:
        brightness: What is added to all channels, first of all; this and the others (N, 1, 1).
        contrast: Factor on all channels.
        luma: Factor on the component along v.
        hue: Angle of the rotation about v, in radians.
        saturation: Factor on the component across v.
    """
    grey = torch.full_like(brightness.expand(-1, 3, 3), 1 / 3)
    unit = torch.eye(3, dtype=grey.dtype, device=grey.device)
    colours = unit - grey
    # v × x as a matrix; cyclic, so that a third of a turn takes red to green
    turned = (unit.roll(1, 0) - unit.roll(-1, 0)) / math.sqrt(3)
    linear = luma * grey + saturation * (hue.cos() * colours + hue.sin() * turned)
    return contrast * torch.cat([linear, (luma * brightness).expand(-1, 3, 1)], 2)


def recolour(images: Tensor, matrix: Tensor) -> Tensor:
    """Transform the colours of images (N, 3, H, W), or greys (N, 1, H, W), by matrices (N, 3, 4)."""
    matrix = matrix.to(images.dtype)
    if images.shape[1] == 1:
        matrix = matrix.mean(1, keepdim=True)
        matrix = torch.cat([matrix[..., :3].sum(2, keepdim=True), matrix[..., 3:]], 2)
    return (matrix[..., :-1] @ images.flatten(2) + matrix[..., -1:]).reshape(images.shape)


def _translation(offset: Tensor) -> Tensor:
    """Move by offsets (N, 2)."""
    return torch.cat(
        [
            torch.eye(3, dtype=offset.dtype, device=offset.device)[:, :2].expand(len(offset), 3, 2),
            F.pad(offset, (0, 1), value=1.0)[..., None],
        ],
        2,
    )


def _scaling(factors: Tensor) -> Tensor:
    """Stretch by factors (N, 2)."""
    return torch.diag_embed(F.pad(factors, (0, 1), value=1.0))


def _rotation(angle: Tensor) -> Tensor:
    """Turn by angles (N, 1) in radians, from x to y."""
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    rows = [cos, -sin, zero, sin, cos, zero, zero, zero, zero + 1]
    return torch.cat(rows, 1).reshape(-1, 3, 3)
