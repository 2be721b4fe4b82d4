"""Convolutions whose weights a style rescales for each image (1912.04958, Sec. 2.2)."""

import torch
from torch import Tensor
from torch.nn import functional as F

from gan_modules.functional.precision import at_least_float32
from gan_modules.functional.upfirdn import BINOMIAL, blur

AFTER_ZEROS = tuple(2 * tap for tap in BINOMIAL)  # three of four pixels were 0 before


def modulated_conv2d(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    *,
    demodulate: bool = True,
    up: bool = False,
    grouped: bool = False,
    gain: float = 1.0,
) -> Tensor:
    """Convolve each image by weights of its own, w′ = s·w (1912.04958, Eq. 1), of norm 1 if demodulated (Eq. 3).

    There are two forms, equal but for rounding. One scales the activations before and after a convolution that all
    images share; grouped, each image has its own weights, and its activations are passed over once.

    Args:
        x: Images (N, I, H, W).
        weight: (O, I, 3, 3), or (O, I, 1, 1) where sizes stay.
        styles: (N, I).
        demodulate: Whether the weights of each output channel are brought to norm 1.
        up: Whether to double height and width, smoothly.
        grouped: Whether to scale the weights instead of the activations.
        gain: Factor on the output.
    """
    with torch.autocast(x.device.type, enabled=False):
        weight, styles = at_least_float32(weight), at_least_float32(styles)
        scale = styles.new_full((1, 1), gain)
        if demodulate:
            # A factor on weights or styles cancels; these keep the sums within the range of half precision.
            weight = weight / weight[0].numel() ** 0.5
            styles = styles / styles.detach().abs().amax(1, keepdim=True).clamp(min=1e-8)
            scale = gain * (styles.square() @ weight.square().sum((2, 3)).T + 1e-8).rsqrt()
    if grouped:
        weights = weight * styles[:, None, :, None, None] * scale[:, :, None, None, None]
        images = _convolve(x.reshape(1, -1, *x.shape[2:]), weights.to(x.dtype), up)
        return images.reshape(x.shape[0], -1, *images.shape[2:])
    x = _convolve(x * styles[:, :, None, None].to(x.dtype), weight[None].to(x.dtype), up)
    return x * scale[:, :, None, None].to(x.dtype)


def _convolve(x: Tensor, weights: Tensor, up: bool) -> Tensor:
    """Convolve images (N, groups·I, H, W) by weights (groups, O, I, k, k)."""
    groups, _, _, size, _ = weights.shape
    if not up:
        return F.conv2d(x, weights.flatten(0, 1), padding=size // 2, groups=groups)
    x = F.conv_transpose2d(x, weights.transpose(1, 2).flatten(0, 1), stride=2, groups=groups)
    return blur(x, 1, AFTER_ZEROS)
