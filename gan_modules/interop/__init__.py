"""Weights of other people's programs, read without executing anything, and written back in their layout."""

from gan_modules.interop.cyclegan import read_cyclegan_net, write_cyclegan_net

__all__ = ["read_cyclegan_net", "write_cyclegan_net"]
