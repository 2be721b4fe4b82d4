"""The networks of StyleGAN2 (1912.04958): modulated convolutions with skips to the image, and a residual discriminator.

The layers are named as in the authors' checkpoints, block by block: ``b4``, ``b8``, and so on.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan_modules.functional.modulation import modulated_conv2d
from gan_modules.functional.precision import at_least_float32
from gan_modules.functional.upfirdn import blur, downsample, upsample
from gan_modules.networks.common import check_sizes, count_doublings
from gan_modules.networks.equalized import ACTIVATION_GAIN, EqualizedConv, EqualizedLinear, minibatch_stddev
from gan_modules.networks.mapping import ClassMapping, Mapping

Noise = Literal["random", "const", "none"]
SIZES = (8, 16, 32, 64, 128, 256, 512, 1024)


class StyleGAN2Generator(nn.Module):
    """Generator of modulated convolutions (1912.04958, Fig. 2c) whose blocks each add to the image (Fig. 7b).

    Maps latents (N, latent_dim) to images (N, C, H, W), around [-1, 1] but not bounded, in two steps that can be taken
    apart: `mapping` and `synthesis`.

    Args:
        image_shape: (C, H, W), square, with H a power of two from 8 to 1024.
        latent_dim: Length of a latent.
        num_classes: Classes of the labels; 0 for none.
        style_dim: Length of a style.
        mapping_layers: Layers between the two.
        channel_base: Channels of a block times its size.
        channel_max: Most channels of a block.
        half_precision_layers: How many blocks, from the largest, are trained in half precision: float16 on CUDA,
            bfloat16 elsewhere. In evaluation all is float32.
        conv_clamp: Bound on what convolutions put out, which float16 needs; `None` for none.

    Attributes:
        mapping: `Mapping`, from latents to styles (N, num_ws, style_dim).
        synthesis: `Synthesis`, from styles to images.
        num_ws: Styles an image takes: 2·log₂(H) - 2.

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
        channel_base: int = 32768,
        channel_max: int = 512,
        half_precision_layers: int = 0,
        conv_clamp: float | None = 256.0,
    ) -> None:
        super().__init__()
        check_sizes(
            "StyleGAN2Generator", image_shape, latent_dim=latent_dim, style_dim=style_dim, mapping_layers=mapping_layers
        )
        widths = _widths("StyleGAN2Generator", image_shape, channel_base, channel_max)
        self.num_ws = 2 * len(widths)
        self.mapping = Mapping(latent_dim, style_dim, self.num_ws, mapping_layers, num_classes)
        self.synthesis = Synthesis(image_shape[0], style_dim, widths, half_precision_layers, conv_clamp)

    def compile_targets(self) -> Iterator[nn.Module]:
        """What a training calls by itself, for a compiler."""
        yield from (self.mapping, self.synthesis)

    def forward(
        self,
        z: Tensor,
        labels: Tensor | None = None,
        truncation: float = 1.0,
        truncation_cutoff: int | None = None,
        noise: Noise = "random",
    ) -> Tensor:
        """Turn latents (N, latent_dim) into images (N, C, H, W); see `Mapping` and `Synthesis`."""
        images: Tensor = self.synthesis(self.mapping(z, labels, truncation, truncation_cutoff), noise)
        return images


class Synthesis(nn.Module):
    """From styles to images (1912.04958, Fig. 7b): the half of the generator that makes pixels.

    Args:
        image_channels: Channels of the images.
        style_dim: Length of a style.
        widths: Channels of the blocks, from 4×4.
        half_precision_layers: See `StyleGAN2Generator`.
        conv_clamp: See `StyleGAN2Generator`.
    """

    def __init__(
        self,
        image_channels: int,
        style_dim: int,
        widths: Sequence[int],
        half_precision_layers: int,
        conv_clamp: float | None,
    ) -> None:
        super().__init__()
        self.const = nn.Parameter(torch.randn(widths[0], 4, 4))
        self.blocks = nn.ModuleDict()
        for i, width in enumerate(widths):
            half = i >= max(1, len(widths) - half_precision_layers)
            in_channels = widths[i - 1] if i else 0
            block = _SynthesisBlock(in_channels, width, image_channels, style_dim, 4 << i, half, conv_clamp)
            self.blocks[f"b{4 << i}"] = block

    def forward(self, ws: Tensor, noise: Noise = "random") -> Tensor:
        """Turn styles (N, num_ws, style_dim) into images (N, C, H, W).

        Args:
            ws: Styles, from the coarsest. The layer that adds a block to the image has the style of the next block's
                first layer.
            noise: Whether each layer's noise is drawn for each image, always the same, or left out.
        """
        x = self.const.expand(ws.shape[0], -1, -1, -1)
        images: Tensor | None = None
        for i, block in enumerate(self.blocks.values()):
            x, images = block(x, images, ws[:, max(0, 2 * i - 1) : 2 * i + 2], noise)
        assert images is not None
        return images


class StyleGAN2Discriminator(nn.Module):
    """Residual discriminator (1912.04958, Fig. 7c) that compares the images of a batch (1710.10196, Sec. 3).

    Maps images (N, C, H, W) to logits (N, 1). With classes, the logit is the projection of the last features on a
    direction that a perceptron finds for the class (2006.06676, App. D).

    Args:
        image_shape: (C, H, W), square, with H a power of two from 8 to 1024.
        num_classes: Classes of the labels; 0 for none.
        channel_base: Channels of a block times its size.
        channel_max: Most channels of a block.
        residual: Whether blocks have a shortcut; without, this is the discriminator of 1812.04948.
        stddev_group: Images among which the minibatch's standard deviation is taken.
        half_precision_layers: How many blocks, from the largest, are trained in half precision: float16 on CUDA,
            bfloat16 elsewhere. In evaluation all is float32.
        conv_clamp: Bound on what convolutions put out, which float16 needs; `None` for none.

    Raises:
        ValueError: The images have another size, or a width is below 1.
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        num_classes: int = 0,
        channel_base: int = 32768,
        channel_max: int = 512,
        residual: bool = True,
        stddev_group: int = 4,
        half_precision_layers: int = 0,
        conv_clamp: float | None = 256.0,
    ) -> None:
        super().__init__()
        check_sizes("StyleGAN2Discriminator", image_shape, stddev_group=stddev_group)
        widths = _widths("StyleGAN2Discriminator", image_shape, channel_base, channel_max)
        self.num_classes = num_classes
        self.blocks = nn.ModuleDict()
        for i in range(len(widths) - 1, 0, -1):
            half = i >= len(widths) - half_precision_layers
            image_channels = image_shape[0] if i == len(widths) - 1 else 0
            block = _DiscriminatorBlock(image_channels, widths[i], widths[i - 1], residual, half, conv_clamp)
            self.blocks[f"b{4 << i}"] = block
        self.epilogue = _Epilogue(widths[0], widths[0] if num_classes else 1, stddev_group, conv_clamp)
        if num_classes:
            self.mapping = ClassMapping(num_classes, widths[0])

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return logits (N, 1) of images (N, C, H, W), in a conditional game with class indices (N,).

        Raises:
            ValueError: Labels are missing.
        """
        return self.logits(self.features(images), labels)

    def features(self, images: Tensor) -> Tensor:
        """Return what `logits` and further heads take: feature maps (N, channels, 4, 4)."""
        x = images
        for block in self.blocks.values():
            x = block(x)
        return x

    def logits(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return logits (N, 1) of features; see `forward`."""
        logits: Tensor = self.epilogue(features)
        if not self.num_classes:
            return logits
        if labels is None:
            raise ValueError(f"The network was built for {self.num_classes} classes: pass a label for each image.")
        directions: Tensor = self.mapping(labels)
        return (logits * directions).sum(1, keepdim=True) / math.sqrt(directions.shape[1])


class _SynthesisBlock(nn.Module):
    """The layers of one size; all blocks but the first double the size before."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        image_channels: int,
        style_dim: int,
        size: int,
        half_precision: bool,
        clamp: float | None,
    ) -> None:
        super().__init__()
        self.half_precision = half_precision
        self.convs = nn.ModuleDict()
        if in_channels:
            self.convs["conv0"] = _SynthesisLayer(in_channels, out_channels, style_dim, size, clamp, up=True)
        self.convs["conv1"] = _SynthesisLayer(out_channels, out_channels, style_dim, size, clamp, up=False)
        self.torgb = _ToImage(out_channels, image_channels, style_dim, clamp)

    def forward(self, x: Tensor, images: Tensor | None, ws: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
        x = _in_precision(x, self.half_precision and self.training)
        *styles, style_of_image = ws.unbind(1)
        for conv, style in zip(self.convs.values(), styles, strict=True):
            x = conv(x, style, noise)
        detail = self.torgb(x, style_of_image)
        return x, detail if images is None else upsample(images) + detail


class _SynthesisLayer(nn.Module):
    """Modulated convolution, noise, bias and leaky ReLU."""

    noise_const: Tensor

    def __init__(
        self, in_channels: int, out_channels: int, style_dim: int, size: int, clamp: float | None, *, up: bool
    ) -> None:
        super().__init__()
        self.up = up
        self.clamp = clamp
        self.affine = EqualizedLinear(style_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("noise_const", torch.randn(size, size))

    def forward(self, x: Tensor, w: Tensor, noise: Noise) -> Tensor:
        x = modulated_conv2d(
            x, self.weight, self.affine(w), up=self.up, grouped=use_grouped_conv(self, x), gain=ACTIVATION_GAIN
        )
        if noise != "none":
            maps = torch.randn_like(x[:, :1]) if noise == "random" else self.noise_const.to(x.dtype)
            x = x + maps * (self.noise_strength * ACTIVATION_GAIN).to(x.dtype)
        bias = (self.bias * ACTIVATION_GAIN).to(x.dtype)
        return _activate(x + bias[:, None, None], self.clamp)


class _ToImage(nn.Module):
    """Modulated 1×1 convolution to what a block adds to the image, in float32."""

    def __init__(self, in_channels: int, image_channels: int, style_dim: int, clamp: float | None) -> None:
        super().__init__()
        self.clamp = clamp
        self.affine = EqualizedLinear(style_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(image_channels, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(image_channels))
        self.gain = 1 / math.sqrt(in_channels)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        styles = self.affine(w) * self.gain
        x = modulated_conv2d(x, self.weight, styles, demodulate=False, grouped=use_grouped_conv(self, x))
        return at_least_float32(_clamp(x + self.bias[:, None, None].to(x.dtype), self.clamp))


class _DiscriminatorBlock(nn.Module):
    """Two convolutions, of which the second halves the size, and the shortcut; the first block reads the image."""

    def __init__(
        self,
        image_channels: int,
        in_channels: int,
        out_channels: int,
        residual: bool,
        half_precision: bool,
        clamp: float | None,
    ) -> None:
        super().__init__()
        self.half_precision = half_precision
        self.clamp = clamp
        # the sum of two branches has the variance of one
        self.share = math.sqrt(0.5) if residual else 1.0
        self.fromrgb = EqualizedConv(image_channels, in_channels, 1, gain=ACTIVATION_GAIN) if image_channels else None
        self.conv0 = EqualizedConv(in_channels, in_channels, 3, gain=ACTIVATION_GAIN)
        self.conv1 = EqualizedConv(in_channels, out_channels, 3, gain=ACTIVATION_GAIN * self.share)
        self.skip = EqualizedConv(in_channels, out_channels, 1, gain=self.share, bias=False) if residual else None

    def forward(self, x: Tensor) -> Tensor:
        x = _in_precision(x, self.half_precision and self.training)
        if self.fromrgb is not None:
            x = _activate(self.fromrgb(x), self.clamp)
        y = _activate(self.conv0(x), self.clamp)
        y = self.conv1(blur(y, 2), stride=2, padding=0)
        y = _activate(y, self.clamp and self.clamp * self.share)
        return y if self.skip is None else y + self.skip(downsample(x))


class _Epilogue(nn.Module):
    """From the last 4×4 features to a logit, or to the features that a class's direction is compared with."""

    def __init__(self, channels: int, out_features: int, stddev_group: int, clamp: float | None) -> None:
        super().__init__()
        self.stddev_group = stddev_group
        self.clamp = clamp
        self.conv = EqualizedConv(channels + 1, channels, 3, gain=ACTIVATION_GAIN)
        self.fc = EqualizedLinear(channels * 4 * 4, channels, gain=ACTIVATION_GAIN)
        self.out = EqualizedLinear(channels, out_features)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            x = minibatch_stddev(at_least_float32(x), self.stddev_group)
            x = _activate(self.conv(x), self.clamp)
            logits: Tensor = self.out(_activate(self.fc(x.flatten(1))))
        return logits


def use_grouped_conv(layer: nn.Module, x: Tensor) -> bool:
    """Whether to scale a modulated convolution's weights, not its input: one image's are few, a batch's are many.

    What is exported takes any number of images, and scales its input.
    """
    return not layer.training and not torch.compiler.is_exporting() and x.shape[0] == 1


def _activate(x: Tensor, clamp: float | None = None) -> Tensor:
    return _clamp(F.leaky_relu(x, 0.2), clamp)


def _clamp(x: Tensor, bound: float | None) -> Tensor:
    return x if bound is None else x.clamp(-bound, bound)


def _in_precision(x: Tensor, half: bool) -> Tensor:
    if half:
        return x.to(torch.float16 if x.is_cuda else torch.bfloat16)
    return at_least_float32(x)


def _widths(network: str, image_shape: Sequence[int], channel_base: int, channel_max: int) -> list[int]:
    """List the channels of the blocks, from 4×4 to the images' size."""
    doublings = count_doublings(network, image_shape, SIZES)
    widths = [min(channel_base // (4 << i), channel_max) for i in range(doublings + 1)]
    if min(widths) < 1:
        size = image_shape[1]
        raise ValueError(
            f"{network} cannot be built with channel_base={channel_base} and channel_max={channel_max}: they leave no "
            f"channel at {size} x {size}; take a channel_base of at least {size}."
        )
    return widths
