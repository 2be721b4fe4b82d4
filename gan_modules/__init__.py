"""GANs as Lightning modules: one readable file a paper, on one engine.

The names in ``__init__.pyi`` are loaded when first used, so that ``gan_modules.functional`` and
``gan_modules.networks`` come without waiting for Lightning.
"""

import lazy_loader

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
