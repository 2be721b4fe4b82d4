"""The convolutional networks of DCGAN (1511.06434)."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from gan_modules.networks.common import check_sizes, count_doublings


class DCGANGenerator(nn.Module):
    """Generator of fractionally strided convolutions (1511.06434, Fig. 1).

    Maps latents (N, latent_dim) to images (N, C, H, W) in [-1, 1]: a projection to 4×4, then a transposed
    convolution for each doubling. Channels halve with each, down to `base_channels` before the output: 1024,
    512, 256, 128 for 64×64 and 128 channels, as in the paper. There is no cap: 256×256 starts from 4096.
    BatchNorm and ReLU follow every layer but the output, which ends in tanh.

    Args:
        image_shape: (C, H, W), square, with H one of 8, 16, 32, 64, 128, 256.
        latent_dim: Length of a latent.
        base_channels: Channels before the output layer.

    Raises:
        ValueError: The images have another size.
    """

    def __init__(self, image_shape: Sequence[int], latent_dim: int = 100, base_channels: int = 128) -> None:
        super().__init__()
        check_sizes("DCGANGenerator", image_shape, latent_dim=latent_dim, base_channels=base_channels)
        widths = _widths("DCGANGenerator", image_shape, base_channels)[::-1]
        layers: list[nn.Module] = [
            nn.ConvTranspose2d(latent_dim, widths[0], 4, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(),
        ]
        for wide, narrow in pairwise(widths):
            layers += [
                nn.ConvTranspose2d(wide, narrow, 4, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(narrow),
                nn.ReLU(),
            ]
        layers += [nn.ConvTranspose2d(widths[-1], image_shape[0], 4, stride=2, padding=1), nn.Tanh()]
        self.layers = nn.Sequential(*layers)
        self.apply(init_dcgan)

    def forward(self, z: Tensor) -> Tensor:
        """Turn latents (N, latent_dim) into images (N, C, H, W) in [-1, 1]."""
        images: Tensor = self.layers(z[:, :, None, None])
        return images


class DCGANDiscriminator(nn.Module):
    """Discriminator of strided convolutions (1511.06434), the generator's mirror image.

    Maps images (N, C, H, W) to logits (N, 1): a convolution for each halving down to 4×4, channels doubling
    from `base_channels` without a cap, then one 4×4 convolution to the logit. LeakyReLU(0.2) throughout;
    BatchNorm everywhere but at the input and the output, so it is no critic for a gradient penalty
    (1704.00028, Sec. 4).

    Args:
        image_shape: (C, H, W), square, with H one of 8, 16, 32, 64, 128, 256.
        base_channels: Channels after the first layer.

    Raises:
        ValueError: The images have another size.
    """

    def __init__(self, image_shape: Sequence[int], base_channels: int = 128) -> None:
        super().__init__()
        check_sizes("DCGANDiscriminator", image_shape, base_channels=base_channels)
        widths = _widths("DCGANDiscriminator", image_shape, base_channels)
        layers: list[nn.Module] = [
            nn.Conv2d(image_shape[0], widths[0], 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
        ]
        for narrow, wide in pairwise(widths):
            layers += [
                nn.Conv2d(narrow, wide, 4, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(wide),
                nn.LeakyReLU(0.2),
            ]
        layers += [nn.Conv2d(widths[-1], 1, 4), nn.Flatten()]
        self.layers = nn.Sequential(*layers)
        self.apply(init_dcgan)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, 1) of images (N, C, H, W)."""
        logits: Tensor = self.layers(x)
        return logits

    def features(self, x: Tensor) -> Tensor:
        """Return what `logits` and further heads take: feature maps (N, channels, 4, 4)."""
        features: Tensor = self.layers[:-2](x)
        return features

    def logits(self, features: Tensor) -> Tensor:
        """Return logits (N, 1) of features."""
        logits: Tensor = self.layers[-2:](features)
        return logits


def init_dcgan(module: nn.Module) -> None:
    """Initialise a layer, for `Module.apply`: weights N(0, 0.02), BatchNorm scale N(1, 0.02) (1511.06434)."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


def _widths(network: str, image_shape: Sequence[int], base_channels: int) -> list[int]:
    """List the channels from the largest feature map down to 4×4."""
    return [base_channels * 2**level for level in range(count_doublings(network, image_shape))]
