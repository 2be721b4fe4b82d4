"""The networks of StyleGAN (1812.04948), which grow from 8×8 with the training (1710.10196).

Both are built at full size. Their attribute `lod` says how many halvings below it they now work: 2.0 for a quarter
of the size, 1.7 where the doubling from there is faded in by 30 %. Images keep their full size throughout, so that
nothing outside has to know: the generator enlarges what it makes, the discriminator shrinks what it is shown.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan_modules.functional.precision import at_least_float32
from gan_modules.functional.upfirdn import blur
from gan_modules.networks.common import check_sizes
from gan_modules.networks.equalized import EqualizedConv, EqualizedLinear, minibatch_stddev, pixel_norm
from gan_modules.networks.mapping import Mapping

Noise = Literal["random", "const", "none"]
TRIANGLE = (0.25, 0.5, 0.25)
SLOPE = 0.2  # of LeakyReLU
HE = math.sqrt(2)  # of the weights before a LeakyReLU, and not of the biases (published code)


class Growing(nn.Module):
    """A network of blocks for 4×4, 8×8 and so on up to the images' size, the largest of which `lod` leaves out.

    Attributes:
        blocks: The blocks, from the smallest images'.
        lod: Halvings below full size, from 0.0 to `max_lod`; a fraction fades between two sizes. In the state dict.
        levels: Halvings from full size to 4×4.
    """

    blocks: nn.ModuleList

    def __init__(self, image_shape: Sequence[int]) -> None:
        super().__init__()
        height, width = image_shape[1:] if len(image_shape) == 3 else (0, 1)
        if height != width or height not in [2**power for power in range(3, 11)]:
            raise ValueError(
                f"{type(self).__name__} cannot be built for image_shape {tuple(image_shape)}: height and width must be "
                f"equal, and a power of two from 8 to 1024; resize or pad the images."
            )
        self.max_lod = height.bit_length() - 3
        self.lod = 0.0

    def get_extra_state(self) -> Tensor:
        """`lod`, for the state dict."""
        return next(self.parameters()).new_tensor(self.lod, dtype=torch.float32)

    def set_extra_state(self, state: Tensor) -> None:
        """Restore the lod of a state dict."""
        self.lod = min(max(float(state), 0.0), float(self.max_lod))

    def compile_targets(self) -> Iterator[nn.Module]:
        """What stays the same while the network grows, for a compiler."""
        yield from self.blocks

    def active_blocks(self) -> tuple[int, float]:
        """How many blocks are in use, counted from 4×4, and how far the last is still faded out."""
        return self.max_lod + 1 - int(self.lod), self.lod % 1


class StyleGANGenerator(Growing):
    """Generator whose layers take their style by AdaIN (1812.04948, Fig. 1b).

    A perceptron maps latents (N, latent_dim) to styles (N, num_ws, style_dim); a synthesis network, from a learned 4×4
    constant, maps styles to images (N, C, H, W), about in [-1, 1]. It has two layers a size: convolution (the first of
    all has none), noise, bias, LeakyReLU, instance norm, style.

    Args:
        image_shape: (C, H, W), square, with H a power of two from 8 to 1024.
        latent_dim: Length of a latent.
        num_classes: Classes of the labels; 0 for none.
        style_dim: Length of a style.
        mapping_layers: Layers of the perceptron.
        channel_base: Channels times image size, where that is below `channel_max`.
        channel_max: Most channels of a layer.

    Attributes:
        num_ws: Layers that take a style.
        mapping: The perceptron, see `Mapping`.

    Raises:
        ValueError: The images have another size, or a width is below 1.
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        latent_dim: int = 512,
        num_classes: int = 0,
        style_dim: int = 512,
        mapping_layers: int = 8,
        channel_base: int = 16384,
        channel_max: int = 512,
    ) -> None:
        super().__init__(image_shape)
        widths = _widths("StyleGANGenerator", image_shape, channel_base, channel_max)
        check_sizes("StyleGANGenerator", image_shape, latent_dim=latent_dim, style_dim=style_dim)
        check_sizes("StyleGANGenerator", image_shape, mapping_layers=mapping_layers)
        self.num_ws = 2 * len(widths)
        self.mapping = StyleGANMapping(latent_dim, style_dim, self.num_ws, mapping_layers, num_classes)
        self.const = nn.Parameter(torch.ones(1, widths[0], 4, 4))
        self.blocks = nn.ModuleList(
            _SynthesisBlock(previous, width, style_dim, 4 << index)
            for index, (previous, width) in enumerate(pairwise([0, *widths]))
        )
        self.to_images = nn.ModuleList(EqualizedConv(width, image_shape[0], 1) for width in widths)

    def forward(self, z: Tensor, labels: Tensor | None = None, noise: Noise = "random") -> Tensor:
        """Turn latents (N, latent_dim) into images (N, C, H, W)."""
        return self.synthesis(self.mapping(z, labels), noise)

    def synthesis(self, ws: Tensor, noise: Noise = "random") -> Tensor:
        """Turn styles (N, num_ws, style_dim) into images (N, C, H, W).

        Args:
            ws: Styles; the last ones have no effect below full size.
            noise: A fresh one for each image, the same for all, or none.
        """
        count, fade = self.active_blocks()
        x = below = self.const.expand(ws.shape[0], -1, -1, -1)
        for block, styles in zip(self.blocks[:count], torch.split(ws, 2, dim=1), strict=False):
            below, x = x, block(x, styles, noise)
        images: Tensor = self.to_images[count - 1](x)
        if fade:
            images = images.lerp(_enlarge(self.to_images[count - 2](below), 2), fade)
        return _enlarge(images, 1 << (len(self.blocks) - count))


class StyleGANMapping(Mapping):
    """A mapping whose latents and embedded classes are normalised together, as in the published code; see `Mapping`."""

    def __init__(self, latent_dim: int, style_dim: int, num_ws: int, layers: int, num_classes: int) -> None:
        super().__init__(latent_dim, style_dim, num_ws, layers, num_classes, bias_gain=1.0)
        if num_classes:
            self.embed = nn.Embedding(num_classes, style_dim)

    def join(self, z: Tensor, labels: Tensor | None) -> Tensor:
        """Put latents and embedded classes beside each other, and normalise."""
        return pixel_norm(z if labels is None or not self.num_classes else torch.cat([z, self.embed(labels)], 1))


class StyleGANDiscriminator(Growing):
    """Discriminator of plain convolutions, two a size (1710.10196, Table 2), with blurred downsampling (1812.04948).

    Maps images (N, C, H, W) to logits (N, 1). With classes, there is a logit for each, of which the label's counts.

    Args:
        image_shape: (C, H, W), square, with H a power of two from 8 to 1024.
        num_classes: Classes of the labels; 0 for none.
        channel_base: Channels times image size, where that is below `channel_max`.
        channel_max: Most channels of a layer.

    Raises:
        ValueError: The images have another size, or a width is below 1.
    """

    def __init__(
        self, image_shape: Sequence[int], num_classes: int = 0, channel_base: int = 16384, channel_max: int = 512
    ) -> None:
        super().__init__(image_shape)
        widths = _widths("StyleGANDiscriminator", image_shape, channel_base, channel_max)
        self.from_images = nn.ModuleList(
            EqualizedConv(image_shape[0], width, 1, gain=HE, bias_gain=1.0) for width in widths
        )
        self.blocks = nn.ModuleList(_DownBlock(wide, narrow) for narrow, wide in pairwise(widths))
        self.conv = EqualizedConv(widths[0] + 1, widths[0], 3, gain=HE, bias_gain=1.0)
        self.hidden = EqualizedLinear(widths[0] * 16, widths[0], gain=HE, bias_gain=1.0)
        self.to_logits = EqualizedLinear(widths[0], max(num_classes, 1))

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return logits (N, 1) of images (N, C, H, W), in a conditional game with class indices (N,)."""
        return self.logits(self.features(images), labels)

    def features(self, images: Tensor) -> Tensor:
        """Return what `logits` and further heads take: the last hidden layer (N, channels)."""
        count, fade = self.active_blocks()
        images = F.avg_pool2d(images, 1 << (len(self.from_images) - count))
        x = F.leaky_relu(self.from_images[count - 1](images), SLOPE)
        for index in reversed(range(count - 1)):
            x = self.blocks[index](x)
            if fade and index == count - 2:
                x = x.lerp(F.leaky_relu(self.from_images[index](F.avg_pool2d(images, 2)), SLOPE), fade)
        x = F.leaky_relu(self.conv(minibatch_stddev(x)), SLOPE)
        return F.leaky_relu(self.hidden(x.flatten(1)), SLOPE)

    def logits(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return logits (N, 1) of features; see `forward`."""
        logits: Tensor = self.to_logits(features)
        return logits if labels is None else logits.gather(1, labels[:, None])


class _SynthesisBlock(nn.Module):
    """Two layers of one size; the first doubles the size before, or is the constant's."""

    def __init__(self, in_channels: int, out_channels: int, style_dim: int, size: int) -> None:
        super().__init__()
        self.up = None
        if in_channels:
            self.up = EqualizedConv(in_channels, out_channels, 3, bias=False, gain=HE)
        self.adapt0 = _Adapt(out_channels, style_dim, size)
        self.conv = EqualizedConv(out_channels, out_channels, 3, bias=False, gain=HE)
        self.adapt1 = _Adapt(out_channels, style_dim, size)

    def forward(self, x: Tensor, ws: Tensor, noise: Noise) -> Tensor:
        x = self.adapt0(x if self.up is None else blur(upsample_conv(x, self.up), 1, TRIANGLE), ws[:, 0], noise)
        adapted: Tensor = self.adapt1(self.conv(x), ws[:, 1], noise)
        return adapted


class _Adapt(nn.Module):
    """What follows a convolution: noise, bias, LeakyReLU, and a style in place of the maps' statistics (Eq. 1)."""

    noise: Tensor

    def __init__(self, channels: int, style_dim: int, size: int) -> None:
        super().__init__()
        self.noise_strength = nn.Parameter(torch.zeros(channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))
        self.style = EqualizedLinear(style_dim, 2 * channels)
        self.register_buffer("noise", torch.randn(1, 1, size, size))

    def forward(self, x: Tensor, w: Tensor, noise: Noise) -> Tensor:
        if noise != "none":
            maps = torch.randn_like(x[:, :1]) if noise == "random" else self.noise.to(x.dtype)
            x = x + self.noise_strength.to(x.dtype) * maps
        x = F.leaky_relu(x + self.bias.to(x.dtype), SLOPE)
        scale, shift = self.style(w).to(x.dtype)[:, :, None, None].chunk(2, dim=1)
        adapted: Tensor = _instance_norm(x) * (scale + 1) + shift
        return adapted


def _instance_norm(x: Tensor) -> Tensor:
    # not torch's, whose gradient is wrong on the CPU for a single image in channels_last (torch 2.15)
    x = x - x.mean((2, 3), keepdim=True)
    scale = (at_least_float32(x).square().mean((2, 3), keepdim=True) + 1e-8).rsqrt()  # in float16, 1e-8 is 0
    return x * scale.to(x.dtype)


class _DownBlock(nn.Module):
    """A convolution, and a blurred one that halves the size."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = EqualizedConv(in_channels, in_channels, 3, gain=HE, bias_gain=1.0)
        self.down = EqualizedConv(in_channels, out_channels, 3, gain=HE, bias_gain=1.0)

    def forward(self, x: Tensor) -> Tensor:
        x = F.leaky_relu(self.conv(x), SLOPE)
        return F.leaky_relu(conv_downsample(blur(x, 1, TRIANGLE), self.down), SLOPE)


def upsample_conv(x: Tensor, conv: EqualizedConv) -> Tensor:
    """Nearest-neighbour doubling and a 3×3 convolution, as one transposed 4×4 of less than half the cost."""
    weight = (_pair_sums(conv.weight).flip(2, 3) * conv.weight_gain).to(x.dtype)
    return F.conv_transpose2d(x, weight.transpose(0, 1), stride=2, padding=1)


def conv_downsample(x: Tensor, conv: EqualizedConv) -> Tensor:
    """A 3×3 convolution with bias and the mean over 2×2 pixels, as one strided 4×4 of less than half the cost."""
    assert conv.bias is not None
    weight = (_pair_sums(conv.weight) * (conv.weight_gain / 4)).to(x.dtype)
    return F.conv2d(x, weight, (conv.bias * conv.bias_gain).to(x.dtype), stride=2, padding=1)


def _pair_sums(weight: Tensor) -> Tensor:
    """Kernels (O, I, 3, 3) as seen by pixels that come in equal pairs: (O, I, 4, 4)."""
    padded = F.pad(weight, (1, 1, 1, 1))
    return padded[..., 1:, 1:] + padded[..., :-1, 1:] + padded[..., 1:, :-1] + padded[..., :-1, :-1]


def _enlarge(images: Tensor, factor: int) -> Tensor:
    return F.interpolate(images, scale_factor=factor, mode="nearest") if factor > 1 else images


def _widths(network: str, image_shape: Sequence[int], channel_base: int, channel_max: int) -> list[int]:
    """List the channels from 4×4 to the largest feature map."""
    check_sizes(network, image_shape, channel_base=channel_base, channel_max=channel_max)
    sizes = [4 << index for index in range(image_shape[-1].bit_length() - 2)]
    return [max(1, min(channel_base // size, channel_max)) for size in sizes]
