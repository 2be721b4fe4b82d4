"""Datamodules for GANs: each knows its own shape, and serves samples in [-1, 1].

The names in ``__init__.pyi`` are loaded when first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
