"""Checkpoint files: read without executing what they hold, and never mistaken for another class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

import gan_modules
from gan_modules.engine.players import GANError

KEY = "gan_modules"  # where a checkpoint says which class made it and how far its game had come


def read_checkpoint(path: str | Path, map_location: Any = "cpu") -> dict[str, Any]:
    """The checkpoint at `path`, as tensors and plain values.

    Raises:
        GANError: If the file is missing, damaged, or not a checkpoint of this library.
    """
    path = Path(path)
    if not path.is_file():
        raise GANError(f"There is no checkpoint at '{path}': check the path.")
    try:
        checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except Exception as error:
        # torch raises RuntimeError, EOFError, UnpicklingError, … for one thing: these bytes are no such checkpoint
        raise GANError(
            f"'{path}' cannot be read as a checkpoint: it is damaged, cut short, or holds more than tensors and plain "
            f"values; use an earlier one, such as 'last.ckpt' of the same run."
        ) from error
    if not isinstance(checkpoint, dict) or KEY not in checkpoint or "state_dict" not in checkpoint:
        raise GANError(f"'{path}' was not written by a model of gan_modules: pass a checkpoint that fit has saved.")
    return checkpoint


def hyper_parameters(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """The arguments a checkpoint's model was built with, without the command line's notes."""
    saved = checkpoint.get("hyper_parameters", {})
    return {name: value for name, value in saved.items() if not name.startswith("_")}


def class_path(cls: type) -> str:
    """The name under which a checkpoint remembers its class."""
    return f"{cls.__module__}.{cls.__qualname__}"


def find_class(name: str, base: type) -> type:
    """The class called `name` among this library's and those of the user that have been imported.

    A checkpoint may come from a stranger, so its word never leads to an import.

    Raises:
        GANError: If no such class has been imported.
    """
    for variant in gan_modules.__all__:
        getattr(gan_modules, variant)  # they are loaded when first used
    known = [base]
    for cls in known:
        if class_path(cls) == name:
            return cls
        known.extend(cls.__subclasses__())
    raise GANError(f"The checkpoint was made by '{name}', which is not known here: import that class first.")
