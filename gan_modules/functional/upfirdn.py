"""Resampling of images by short filters, as the depthwise convolutions that PyTorch has natively.

Filters are separable and given as the weights of one axis. Those that double or halve have an even number of them,
so that the new pixels cover the same area as the old. What lies beyond the images is 0.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

BINOMIAL = (0.125, 0.375, 0.375, 0.125)  # [1, 3, 3, 1], of StyleGAN2 (1912.04958)


def blur(x: Tensor, padding: int, taps: Sequence[float] = BINOMIAL) -> Tensor:
    """Filter images (N, C, H, W), padded by `padding` on all sides: each side grows by twice that less taps - 1."""
    return F.conv2d(x, _kernel(x, taps), padding=padding, groups=x.shape[1])


def upsample(x: Tensor, taps: Sequence[float] = BINOMIAL) -> Tensor:
    """Double images (N, C, H, W): zeros between the pixels, the filter, and a gain of 4 for the brightness."""
    kernel = _kernel(x, [2 * tap for tap in taps])
    return F.conv_transpose2d(x, kernel, stride=2, padding=len(taps) // 2 - 1, groups=x.shape[1])


def downsample(x: Tensor, taps: Sequence[float] = BINOMIAL) -> Tensor:
    """Halve images (N, C, H, W) of even height and width: a quarter of the adjoint of `upsample`."""
    return F.conv2d(x, _kernel(x, taps), stride=2, padding=len(taps) // 2 - 1, groups=x.shape[1])


def _kernel(x: Tensor, taps: Sequence[float]) -> Tensor:
    # non_blocking: a plain copy to a GPU would wait for all the work before it
    line = torch.tensor(taps, dtype=x.dtype).to(x.device, non_blocking=True)
    return torch.outer(line, line).repeat(x.shape[1], 1, 1, 1)
