"""Weights of other programs, read into models without executing anything, and written back in their layout."""

from gan_modules.interop.cyclegan import read_cyclegan_net, write_cyclegan_net
from gan_modules.interop.nvidia import read_nvidia, to_nvidia_state_dict
from gan_modules.interop.stylegan2 import load_nvidia, nvidia_state_dicts
from gan_modules.interop.translation import load_cyclegan, load_pix2pix, save_cyclegan, save_pix2pix

__all__ = [
    "load_cyclegan",
    "load_nvidia",
    "load_pix2pix",
    "nvidia_state_dicts",
    "read_cyclegan_net",
    "read_nvidia",
    "save_cyclegan",
    "save_pix2pix",
    "to_nvidia_state_dict",
    "write_cyclegan_net",
]
