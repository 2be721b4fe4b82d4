"""The networks of a translation game by the names that papers and checkpoints give them."""

import re

from gan_modules.networks.norms import Norm
from gan_modules.networks.patchgan import PatchGAN, PixelGAN
from gan_modules.networks.resnet_translation import ResNetTranslator
from gan_modules.networks.unet import UNet

Translator = ResNetTranslator | UNet


def build_translator(
    name: str,
    in_channels: int,
    out_channels: int,
    base_channels: int = 64,
    norm: Norm = "instance",
    dropout: bool = False,
) -> Translator:
    """Build a generator from images (N, in_channels, H, W) to images (N, out_channels, H, W).

    Args:
        name: "resnet_9", "resnet_6" or any other number of blocks; "unet_256", "unet_128" or any other power of two,
            the image size that the U-Net takes down to one pixel.
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        base_channels: Channels after the first layer.
        norm: "batch" or "instance".
        dropout: Whether to drop half of the activations where the authors do.

    Raises:
        ValueError: There is no such network.
    """
    match = re.fullmatch(r"(resnet|unet)_(\d+)", name)
    kind, number = (match[1], int(match[2])) if match else ("", 0)
    if kind == "resnet" and number <= 1000:
        return ResNetTranslator(in_channels, out_channels, number, base_channels, norm, dropout)
    if kind == "unet" and 4 <= number <= 2**16 and number.bit_count() == 1:
        return UNet(in_channels, out_channels, number.bit_length() - 1, base_channels, norm, dropout)
    raise ValueError(
        f"There is no generator '{name}': say resnet_6, resnet_9 or another number of blocks up to 1000, or unet_128, "
        f"unet_256 or another power of two from 4 to 65536."
    )


def build_patchgan(
    channels: int, base_channels: int = 64, layers: int = 3, norm: Norm = "instance"
) -> PatchGAN | PixelGAN:
    """Build a discriminator of patches, or with 0 layers of single pixels; see `PatchGAN` for the patches' sizes."""
    return PatchGAN(channels, base_channels, layers, norm) if layers else PixelGAN(channels, base_channels, norm)
