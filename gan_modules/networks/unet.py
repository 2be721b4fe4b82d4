"""The U-Net of image-to-image translation (1611.07004, Sec. 6.1.1), under its authors' tensor names."""

from itertools import islice

import torch
from torch import Tensor, nn

from gan_modules.networks.dcgan import init_dcgan
from gan_modules.networks.norms import Norm, needs_bias, norm_layer

DROPOUT = 0.5


class UNet(nn.Module):
    """Generator that halves an image `depth` times and doubles it again, with a skip at every size.

    Maps images (N, in_channels, H, W) to images (N, out_channels, H, W) in [-1, 1]. Convolutions 4×4 of stride 2;
    channels double from `base_channels` to eight times as many. Dropout, where on, follows the upward blocks that
    are eight times as wide on both sides, but the innermost: three of eight at depth 8.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        depth: Halvings; 8 is the published network for 256×256.
        base_channels: Channels after the first halving.
        norm: "batch" or "instance".
        dropout: Whether to drop half of the activations there; it is the game's only noise.

    Raises:
        ValueError: `depth` is below 2 or `norm` unknown.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        depth: int = 8,
        base_channels: int = 64,
        norm: Norm = "batch",
        dropout: bool = True,
    ) -> None:
        super().__init__()
        if depth < 2:
            raise ValueError(f"depth={depth} must be at least 2: it is how often the U-Net halves the image.")
        self.multiple = self.min_size = 2**depth  # heights and widths are multiples of this
        widths = [base_channels * min(2**level, 8) for level in range(depth)]
        block: UNetBlock | None = None
        for level in range(depth - 1, 0, -1):
            drops = dropout and 4 <= level < depth - 1
            block = UNetBlock(widths[level - 1], widths[level], block, norm, drops)
        self.model = UNetBlock(out_channels, widths[0], block, norm, in_channels=in_channels)
        self.apply(init_dcgan)

    def forward(self, x: Tensor) -> Tensor:
        """Translate images (N, C, H, W), H and W multiples of ``multiple``, to others in [-1, 1]."""
        images: Tensor = self.model(x)
        return images


class UNetBlock(nn.Module):
    """One level of a U-Net: down, what lies below, up, and beside it the skip.

    Args:
        outer: Channels on the outside.
        inner: Channels on the inside.
        below: The next level; none for the innermost.
        norm: "batch" or "instance".
        dropout: Whether to drop half of what comes up.
        in_channels: The image's channels; makes this the outermost level, which has no skip and ends in tanh.
    """

    def __init__(
        self,
        outer: int,
        inner: int,
        below: nn.Module | None,
        norm: Norm,
        dropout: bool = False,
        in_channels: int | None = None,
    ) -> None:
        super().__init__()
        bias = needs_bias(norm)
        self.outermost = in_channels is not None
        down = nn.Conv2d(outer if in_channels is None else in_channels, inner, 4, stride=2, padding=1, bias=bias)
        up = nn.ConvTranspose2d(
            inner if below is None else 2 * inner, outer, 4, stride=2, padding=1, bias=bias or self.outermost
        )
        layers: list[nn.Module] = [down]
        if not self.outermost:
            layers = [nn.LeakyReLU(0.2), down]
        if below is not None:
            layers += [below] if self.outermost else [norm_layer(norm, inner), below]
        layers += [nn.ReLU(), up, nn.Tanh() if self.outermost else norm_layer(norm, outer)]
        if dropout:
            layers.append(nn.Dropout(DROPOUT))
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """The level's features (N, 2·outer, H, W) beside the skip, or at the outermost the image."""
        if self.outermost:
            image: Tensor = self.model(x)
            return image
        # the authors activate in place, so what the skip carries is activated
        x = features = self.model[0](x)
        for layer in islice(self.model, 1, None):
            features = layer(features)
        return torch.cat([x, features], dim=1)
