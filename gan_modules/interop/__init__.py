"""Weights of other people's programs, read without executing anything, and written back in their layout."""

from gan_modules.interop.cyclegan import read_cyclegan_net, write_cyclegan_net
from gan_modules.interop.nvidia import read_nvidia, to_nvidia_state_dict

__all__ = ["read_cyclegan_net", "read_nvidia", "to_nvidia_state_dict", "write_cyclegan_net"]
