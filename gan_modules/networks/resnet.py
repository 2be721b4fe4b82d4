"""The residual networks of WGAN-GP (1704.00028, Appendix: CIFAR-10 ResNet).

The blocks follow the published code where the paper is silent or differs: the generator upsamples before the
first convolution of a block (the paper says the second).
"""

import math
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from gan_modules.networks.common import check_sizes, count_doublings


class ResNetGenerator(nn.Module):
    """Residual generator with BatchNorm (1704.00028, Appendix).

    Maps latents (N, latent_dim) to images (N, C, H, W) in [-1, 1]: a projection to 4×4, then a residual block
    with nearest-neighbour upsampling for each doubling, all `base_channels` wide. The paper's network is
    32×32 with three blocks of 128; other sizes have as many blocks as doublings, at the same width.

    Args:
        image_shape: (C, H, W), square, with H one of 8, 16, 32, 64, 128, 256.
        latent_dim: Length of a latent.
        base_channels: Channels of every block.

    Raises:
        ValueError: The images have another size.
    """

    def __init__(self, image_shape: Sequence[int], latent_dim: int = 128, base_channels: int = 128) -> None:
        super().__init__()
        check_sizes("ResNetGenerator", image_shape, latent_dim=latent_dim, base_channels=base_channels)
        doublings = count_doublings("ResNetGenerator", image_shape)
        self.project = nn.Linear(latent_dim, base_channels * 4 * 4)
        nn.init.xavier_uniform_(self.project.weight)
        nn.init.zeros_(self.project.bias)
        self.blocks = nn.Sequential(*[_UpBlock(base_channels) for _ in range(doublings)])
        self.norm = nn.BatchNorm2d(base_channels)
        self.to_image = _conv(base_channels, image_shape[0], 3, gain=1.0)

    def forward(self, z: Tensor) -> Tensor:
        """Turn latents (N, latent_dim) into images (N, C, H, W) in [-1, 1]."""
        features = self.blocks(self.project(z).unflatten(1, (-1, 4, 4)))
        images: Tensor = self.to_image(F.relu(self.norm(features))).tanh()
        return images


class ResNetDiscriminator(nn.Module):
    """Residual critic without normalisation (1704.00028, Appendix).

    Maps images (N, C, H, W) to logits (N, 1): blocks with mean pooling halve the images until 8×8 (8×8 images
    themselves are halved once), two blocks without resampling follow, then ReLU, the mean over all positions
    and a linear layer. Every block is `base_channels` wide; the paper's network is 32×32 with four blocks of
    128.

    Args:
        image_shape: (C, H, W), square, with H one of 8, 16, 32, 64, 128, 256.
        base_channels: Channels of every block.

    Raises:
        ValueError: The images have another size.
    """

    def __init__(self, image_shape: Sequence[int], base_channels: int = 128) -> None:
        super().__init__()
        check_sizes("ResNetDiscriminator", image_shape, base_channels=base_channels)
        halvings = max(1, count_doublings("ResNetDiscriminator", image_shape) - 1)
        self.blocks = nn.Sequential(
            _CriticBlock(image_shape[0], base_channels, downsample=True, first=True),
            *[_CriticBlock(base_channels, base_channels, downsample=True) for _ in range(halvings - 1)],
            *[_CriticBlock(base_channels, base_channels, downsample=False) for _ in range(2)],
        )
        self.to_logit = nn.Linear(base_channels, 1)
        nn.init.xavier_uniform_(self.to_logit.weight)
        nn.init.zeros_(self.to_logit.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, 1) of images (N, C, H, W)."""
        return self.logits(self.features(x))

    def features(self, x: Tensor) -> Tensor:
        """Return what `logits` and further heads take: means over all positions (N, base_channels)."""
        return F.relu(self.blocks(x)).mean((2, 3))

    def logits(self, features: Tensor) -> Tensor:
        """Return logits (N, 1) of features."""
        logits: Tensor = self.to_logit(features)
        return logits


class _UpBlock(nn.Module):
    """Pre-activation residual block with BatchNorm that doubles the size."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv1 = _conv(channels, channels, 3, gain=math.sqrt(2))
        self.norm2 = nn.BatchNorm2d(channels)
        self.conv2 = _conv(channels, channels, 3, gain=math.sqrt(2))
        self.shortcut = _conv(channels, channels, 1, gain=1.0)

    def forward(self, x: Tensor) -> Tensor:
        residual: Tensor = self.conv1(_upsample(F.relu(self.norm1(x))))
        residual = self.conv2(F.relu(self.norm2(residual)))
        # A 1×1 convolution commutes with the upsampling and is four times cheaper before it.
        return residual + _upsample(self.shortcut(x))


class _CriticBlock(nn.Module):
    """Pre-activation residual block without normalisation; the first does not activate the image itself."""

    def __init__(self, in_channels: int, out_channels: int, *, downsample: bool, first: bool = False) -> None:
        super().__init__()
        self.downsample = downsample
        self.first = first
        self.conv1 = _conv(in_channels, out_channels, 3, gain=math.sqrt(2))
        self.conv2 = _conv(out_channels, out_channels, 3, gain=math.sqrt(2))
        self.shortcut = _conv(in_channels, out_channels, 1, gain=1.0) if downsample else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        residual: Tensor = self.conv2(F.relu(self.conv1(x if self.first else F.relu(x))))
        if self.downsample:
            # Here too the 1×1 convolution of the shortcut commutes with the pooling and is cheaper after it.
            x, residual = F.avg_pool2d(x, 2), F.avg_pool2d(residual, 2)
        skip: Tensor = self.shortcut(x)
        return skip + residual


def _upsample(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")


def _conv(in_channels: int, out_channels: int, kernel_size: int, gain: float) -> nn.Conv2d:
    """Build a size-keeping convolution; the published code's "He" start is Glorot's with gain √2."""
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2)
    nn.init.xavier_uniform_(conv.weight, gain)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return conv
