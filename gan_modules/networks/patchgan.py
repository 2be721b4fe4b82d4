"""Discriminators that see an image patch by patch (1611.07004, Sec. 3.2.2), under their authors' tensor names."""

from torch import Tensor, nn

from gan_modules.networks.dcgan import init_dcgan
from gan_modules.networks.norms import Norm, needs_bias, norm_layer


class PatchGAN(nn.Module):
    """Discriminator whose every logit sees one patch: 16×16, 34, 70, 142, 286 pixels for 1, 2, 3, 4, 5 layers.

    Maps images (N, C, H, W) to logits (N, 1, h, w) with h = ⌊H / 2^layers⌋ - 2.

    Args:
        channels: Channels of an image; the sum of both, where the input is seen beside the output.
        base_channels: Channels after the first layer; they double to eight times as many at most.
        layers: Convolutions of stride 2; two of stride 1 follow.
        norm: "batch" or "instance".

    Raises:
        ValueError: `layers` is not from 1 to 16, or `norm` unknown.
    """

    def __init__(self, channels: int, base_channels: int = 64, layers: int = 3, norm: Norm = "instance") -> None:
        super().__init__()
        if not 1 <= layers <= 16:
            raise ValueError(f"layers={layers} must be from 1 to 16; PixelGAN is for single pixels.")
        self.min_size = 3 * 2**layers  # heights and widths that leave one logit
        widths = [base_channels * min(2**level, 8) for level in range(layers + 1)]
        modules: list[nn.Module] = [nn.Conv2d(channels, widths[0], 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        for level in range(1, layers + 1):
            stride = 2 if level < layers else 1
            modules += [
                nn.Conv2d(widths[level - 1], widths[level], 4, stride, padding=1, bias=needs_bias(norm)),
                norm_layer(norm, widths[level]),
                nn.LeakyReLU(0.2),
            ]
        modules.append(nn.Conv2d(widths[-1], 1, 4, padding=1))
        self.model = nn.Sequential(*modules)
        self.apply(init_dcgan)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, 1, h, w) of the patches of images (N, C, H, W)."""
        logits: Tensor = self.model(x)
        return logits

    def features(self, x: Tensor) -> Tensor:
        """Return what `logits` and further heads take: feature maps (N, channels, h + 1, w + 1)."""
        features: Tensor = self.model[:-1](x)
        return features

    def logits(self, features: Tensor) -> Tensor:
        """Return logits (N, 1, h, w) of features."""
        logits: Tensor = self.model[-1](features)
        return logits


class PixelGAN(nn.Module):
    """Discriminator of single pixels, of which it can learn the colours alone: logits (N, 1, H, W).

    Args:
        channels: Channels of an image; the sum of both, where the input is seen beside the output.
        base_channels: Channels after the first layer, and half of those after the second.
        norm: "batch" or "instance".

    Raises:
        ValueError: `norm` is unknown.
    """

    min_size = 1

    def __init__(self, channels: int, base_channels: int = 64, norm: Norm = "instance") -> None:
        super().__init__()
        bias = needs_bias(norm)
        self.net = nn.Sequential(
            nn.Conv2d(channels, base_channels, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(base_channels, 2 * base_channels, 1, bias=bias),
            norm_layer(norm, 2 * base_channels),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * base_channels, 1, 1, bias=bias),
        )
        self.apply(init_dcgan)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, 1, H, W) of the pixels of images (N, C, H, W)."""
        logits: Tensor = self.net(x)
        return logits

    def features(self, x: Tensor) -> Tensor:
        """Return what `logits` and further heads take: feature maps (N, channels, H, W)."""
        features: Tensor = self.net[:-1](x)
        return features

    def logits(self, features: Tensor) -> Tensor:
        """Return logits (N, 1, H, W) of features."""
        logits: Tensor = self.net[-1](features)
        return logits
