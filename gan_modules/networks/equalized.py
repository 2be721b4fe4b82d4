"""Layers of the StyleGAN line: weights drawn from N(0, 1) and scaled when used, so that all learn at one speed.

The equalised learning rate is that of 1710.10196, Sec. 4.1. In StyleGAN2 a leaky ReLU has the gain √2, which the layer
before takes as its own, on weight and bias: that comes to the same and saves a pass over the activations. In StyleGAN
√2 is He's constant, of the weights alone.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan_modules.functional.precision import at_least_float32

ACTIVATION_GAIN = math.sqrt(2)


class EqualizedLinear(nn.Module):
    """Linear layer of equalised learning rate, in float32 at least whatever autocast says: it is small.

    Args:
        in_features: Length of an input.
        out_features: Length of an output.
        gain: Factor on weight and bias.
        bias_gain: Factor on the bias, where it is another.
        bias_init: What the biases start from.
        lr_multiplier: Speed of learning, with respect to that of other layers.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        gain: float = 1.0,
        bias_gain: float | None = None,
        bias_init: float = 0.0,
        lr_multiplier: float = 1.0,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_multiplier)
        self.bias = nn.Parameter(torch.full((out_features,), bias_init / lr_multiplier))
        self.weight_gain = gain * lr_multiplier / math.sqrt(in_features)
        self.bias_gain = (gain if bias_gain is None else bias_gain) * lr_multiplier

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_features) to (N, out_features)."""
        with torch.autocast(x.device.type, enabled=False):
            weight, bias = at_least_float32(self.weight), at_least_float32(self.bias)
            return F.linear(x.to(weight.dtype), weight * self.weight_gain, bias * self.bias_gain)


class EqualizedConv(nn.Module):
    """Convolution of equalised learning rate.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Odd side of the kernel.
        gain: Factor on weight and bias.
        bias_gain: Factor on the bias, where it is another.
        bias: Whether there is one.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        gain: float = 1.0,
        bias_gain: float | None = None,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.weight_gain = gain / math.sqrt(in_channels * kernel_size**2)
        self.bias_gain = gain if bias_gain is None else bias_gain

    def forward(self, x: Tensor, stride: int = 1, padding: int | None = None) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H, W), or as `stride` and `padding` say."""
        weight = (self.weight * self.weight_gain).to(x.dtype)
        bias = None if self.bias is None else (self.bias * self.bias_gain).to(x.dtype)
        padding = weight.shape[-1] // 2 if padding is None else padding
        return F.conv2d(x, weight, bias, stride, padding)


def minibatch_stddev(x: Tensor, group_size: int = 4) -> Tensor:
    """Add a map of how much the images of a group differ, over all features and pixels (1710.10196, Sec. 3).

    Groups are strided: image i of N is with i + N/size, i + 2·N/size, ….

    Args:
        x: Features (N, C, H, W), to which the map is added as the last of C + 1.
        group_size: Images in a group; fewer where N is less or cannot be so divided.
    """
    n, _, height, width = x.shape
    size = next(size for size in range(min(group_size, n), 0, -1) if n % size == 0)
    groups = at_least_float32(x).reshape(size, -1, *x.shape[1:])
    deviation = (groups.var(0, unbiased=False) + 1e-8).sqrt().mean((1, 2, 3))
    maps = deviation.to(x.dtype).repeat(size)[:, None, None, None].expand(n, 1, height, width)
    return torch.cat([x, maps], 1)


def pixel_norm(x: Tensor) -> Tensor:
    """Scale the features (N, C, ...) of each position to the mean square 1 (1710.10196, Sec. 4.2)."""
    return x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()
