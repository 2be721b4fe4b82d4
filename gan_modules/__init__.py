"""GANs as Lightning modules: one readable file a paper, on one engine.

The names in ``__init__.pyi`` are loaded when first used, so that ``gan_modules.functional`` and
``gan_modules.networks`` come without waiting for Lightning.
"""

import warnings as _warnings

import lazy_loader

from gan_modules.neighbours import hidden_data as _hidden_data

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

if (_hidden := _hidden_data()) is not None:
    _warnings.warn(_hidden, stacklevel=2)
