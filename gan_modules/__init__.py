"""GANs as Lightning modules: one readable file a paper, on one engine.

The names below are loaded when first used, so that ``gan_modules.functional`` and ``gan_modules.networks`` come without
waiting for Lightning.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gan_modules.base import GAN, GANError
    from gan_modules.cgan import CGAN
    from gan_modules.cyclegan import CycleGAN
    from gan_modules.dcgan import DCGAN
    from gan_modules.pix2pix import Pix2Pix
    from gan_modules.stylegan import StyleGAN
    from gan_modules.stylegan2 import StyleGAN2
    from gan_modules.vanilla import VanillaGAN
    from gan_modules.wgan import WGAN
    from gan_modules.wgan_gp import WGANGP

__version__ = "0.1.0"
__all__ = [
    "CGAN",
    "DCGAN",
    "GAN",
    "WGAN",
    "WGANGP",
    "CycleGAN",
    "GANError",
    "Pix2Pix",
    "StyleGAN",
    "StyleGAN2",
    "VanillaGAN",
]

_HOME = {
    "CGAN": "cgan",
    "CycleGAN": "cyclegan",
    "DCGAN": "dcgan",
    "GAN": "base",
    "GANError": "base",
    "Pix2Pix": "pix2pix",
    "StyleGAN": "stylegan",
    "StyleGAN2": "stylegan2",
    "VanillaGAN": "vanilla",
    "WGAN": "wgan",
    "WGANGP": "wgan_gp",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'gan_modules' has no attribute '{name}'")
    return getattr(import_module(f"gan_modules.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
