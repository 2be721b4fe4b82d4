"""The ResNet of image-to-image translation (1703.10593, Sec. 7.2), under its authors' tensor names."""

from torch import Tensor, nn

from gan_modules.networks.dcgan import init_dcgan
from gan_modules.networks.norms import Norm, needs_bias, norm_layer

DROPOUT = 0.5


class ResNetTranslator(nn.Module):
    """Generator that works at a quarter of the image's size: two halvings, residual blocks, two doublings.

    Maps images (N, in_channels, H, W) to images (N, out_channels, H, W) in [-1, 1], padding by reflection.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        blocks: Residual blocks; the paper has 6 for 128×128 and 9 for 256×256 and more.
        base_channels: Channels after the first layer; four times as many in the blocks.
        norm: "batch" or "instance".
        dropout: Whether to drop half of the activations within each block.

    Raises:
        ValueError: `blocks` is negative or `norm` unknown.
    """

    multiple, min_size = 4, 8  # heights and widths are multiples of the one, and not below the other

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        blocks: int = 9,
        base_channels: int = 64,
        norm: Norm = "instance",
        dropout: bool = False,
    ) -> None:
        super().__init__()
        if blocks < 0:
            raise ValueError(f"blocks={blocks} must not be negative.")
        bias = needs_bias(norm)
        width = base_channels
        layers: list[nn.Module] = [
            nn.ReflectionPad2d(3),
            nn.Conv2d(in_channels, width, 7, bias=bias),
            norm_layer(norm, width),
            nn.ReLU(),
        ]
        for _ in range(2):
            layers += [
                nn.Conv2d(width, 2 * width, 3, stride=2, padding=1, bias=bias),
                norm_layer(norm, 2 * width),
                nn.ReLU(),
            ]
            width *= 2
        layers += [TranslationBlock(width, norm, dropout) for _ in range(blocks)]
        for _ in range(2):
            layers += [
                nn.ConvTranspose2d(width, width // 2, 3, stride=2, padding=1, output_padding=1, bias=bias),
                norm_layer(norm, width // 2),
                nn.ReLU(),
            ]
            width //= 2
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, out_channels, 7), nn.Tanh()]
        self.model = nn.Sequential(*layers)
        self.apply(init_dcgan)

    def forward(self, x: Tensor) -> Tensor:
        """Translate images (N, C, H, W), H and W multiples of 4 and at least 8, to others in [-1, 1]."""
        images: Tensor = self.model(x)
        return images


class TranslationBlock(nn.Module):
    """Two convolutions 3×3 beside an identity, with no activation after their sum.

    Args:
        channels: Channels of input and output.
        norm: "batch" or "instance".
        dropout: Whether to drop half of the activations between the two.
    """

    def __init__(self, channels: int, norm: Norm, dropout: bool) -> None:
        super().__init__()

        def convolution() -> list[nn.Module]:
            return [
                nn.ReflectionPad2d(1),
                nn.Conv2d(channels, channels, 3, bias=needs_bias(norm)),
                norm_layer(norm, channels),
            ]

        between: list[nn.Module] = [nn.ReLU(), nn.Dropout(DROPOUT)] if dropout else [nn.ReLU()]
        self.conv_block = nn.Sequential(*convolution(), *between, *convolution())

    def forward(self, x: Tensor) -> Tensor:
        """Features (N, C, H, W) of the same shape."""
        features: Tensor = x + self.conv_block(x)
        return features
