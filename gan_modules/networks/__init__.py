"""Generators and discriminators by architecture: plain modules.

A discriminator returns logits: ``logits(features(x))``. Further heads take its features.
"""

from gan_modules.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from gan_modules.networks.mlp import MLPDiscriminator, MLPGenerator
from gan_modules.networks.patchgan import PatchGAN, PixelGAN
from gan_modules.networks.resnet import ResNetDiscriminator, ResNetGenerator
from gan_modules.networks.resnet_translation import ResNetTranslator
from gan_modules.networks.stylegan import StyleGANDiscriminator, StyleGANGenerator
from gan_modules.networks.stylegan2 import StyleGAN2Discriminator, StyleGAN2Generator
from gan_modules.networks.translation import Translator, build_patchgan, build_translator
from gan_modules.networks.unet import UNet

__all__ = [
    "DCGANDiscriminator",
    "DCGANGenerator",
    "MLPDiscriminator",
    "MLPGenerator",
    "PatchGAN",
    "PixelGAN",
    "ResNetDiscriminator",
    "ResNetGenerator",
    "ResNetTranslator",
    "StyleGAN2Discriminator",
    "StyleGAN2Generator",
    "StyleGANDiscriminator",
    "StyleGANGenerator",
    "Translator",
    "UNet",
    "build_patchgan",
    "build_translator",
]
