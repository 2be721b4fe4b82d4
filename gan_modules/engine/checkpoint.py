"""Checkpoint files: whole or not there at all, read without executing them, never mistaken for another class."""

from __future__ import annotations

import difflib
import inspect
import os
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import IO, Any, cast

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor

import gan_modules
from gan_modules.errors import GANError

KEY = "gan_modules"  # where a checkpoint says which class made it and how far its game had come


class CheckpointFiles(TorchCheckpointIO):
    """Lightning's checkpoint files, written atomically and read without executing what they hold."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write the checkpoint, so that at any moment either the old file or the whole new one is there.

        Raises:
            GANError: If the disk is full or refuses; what was there before is kept.
        """
        if "://" in str(path):  # a remote store has its own transactions
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        write_atomically(Path(path), lambda file: torch.save(checkpoint, file))

    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = None
    ) -> dict[str, Any]:
        """See `read_checkpoint`; `weights_only` has no effect, since nothing else is ever read."""
        if "://" in str(path):
            return super().load_checkpoint(path, map_location, weights_only=True)
        return read_checkpoint(path)


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Let `write` fill a new file beside `path`, and put it in its place when it is safe on the disk.

    Raises:
        GANError: If it could not be written; what was there before is kept.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = file.name
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:  # torch.save wraps what the disk says
        said = error if isinstance(error, OSError) else error.__context__ or error
        reason = getattr(said, "strerror", None) or str(said).splitlines()[0]
        raise GANError(
            f"'{path}' could not be written ({reason}): make room or choose another place; what was saved before is "
            f"untouched."
        ) from error
    finally:
        if temporary is not None:
            with suppress(FileNotFoundError):
                os.unlink(temporary)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """The checkpoint at `path`, as tensors on the CPU and plain values.

    Raises:
        GANError: If the file is missing, damaged, or not a checkpoint of this library; it names the newest readable
            checkpoint beside a damaged one.
    """
    path = Path(path)
    if not path.is_file():
        raise GANError(f"There is no checkpoint at '{path}': check the path.")
    if path.suffix == ".safetensors":
        raise GANError(f"'{path}' holds weights alone: load its folder by from_pretrained.")
    checkpoint = _contents(path, "cpu")
    if checkpoint is None:
        others = sorted(path.parent.glob("*.ckpt"), key=lambda other: other.stat().st_mtime, reverse=True)
        whole = next((other for other in others if other != path and _contents(other, "meta") is not None), None)
        remedy = f"the one before it, '{whole}', is whole" if whole else "there is no other beside it"
        raise GANError(
            f"'{path}' cannot be read as a checkpoint: it is damaged, cut short, or holds more than tensors and plain "
            f"values; {remedy}."
        )
    if not _is_ours(checkpoint):
        raise GANError(f"'{path}' was not written by a model of gan_modules: pass a checkpoint that fit has saved.")
    return cast(dict[str, Any], checkpoint)


def _is_ours(checkpoint: Any) -> bool:
    """Whether what a file holds has the form that a game gives its checkpoints."""
    if not isinstance(checkpoint, dict) or not isinstance(game := checkpoint.get(KEY), dict):
        return False
    kinds = {"class": str, "images_seen": int, "images_averaged": int, "batches_played": int}
    return (
        all(isinstance(game.get(name), kind) for name, kind in kinds.items())
        and isinstance(checkpoint.get("state_dict"), dict)
        and isinstance(checkpoint.get("hyper_parameters", {}), dict)
    )


def _contents(path: Path, device: str) -> Any:
    """What the file holds; `None` if it is damaged or would execute something."""
    try:
        with zipfile.ZipFile(path) as file:
            if file.testzip() is not None:  # torch.load does not look at the checksums
                return None
        return torch.load(path, map_location=device, weights_only=True)
    except Exception:
        # RuntimeError, EOFError, BadZipFile, UnpicklingError, … for one thing: these bytes are no such checkpoint
        return None


def check_weights(state_dict: Mapping[str, Tensor]) -> None:
    """Refuse to save weights that are not finite.

    Raises:
        GANError: If some are not; it names the first.
    """
    floating = {name: t for name, t in state_dict.items() if t.is_floating_point() and type(t) is Tensor and t.numel()}
    if not floating:
        return
    finite = torch.isfinite(torch.stack([tensor.float().abs().amax() for tensor in floating.values()])).tolist()
    for name, is_finite in zip(floating, finite, strict=True):
        if not is_finite:
            raise GANError(
                f"The weights '{name}' are no longer finite: training stopped, the last checkpoint is untouched; try a "
                f"lower learning rate, clip_norm=1.0 or precision 32."
            )


def claims_more_than_it_holds(tensor: Tensor) -> bool:
    """Whether a tensor from a file repeats what little it holds, so as to be made in full by whoever copies it."""
    return tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes()


def hyper_parameters(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """The arguments a checkpoint's model was built with, without the command line's notes."""
    saved = checkpoint.get("hyper_parameters", {})
    return {name: value for name, value in saved.items() if not name.startswith("_")}


def class_path(cls: type) -> str:
    """The name under which a checkpoint remembers its class."""
    return f"{cls.__module__}.{cls.__qualname__}"


def find_class(name: str, base: type) -> type:
    """Return the class called `name` among this library's and those of the user that have been imported.

    A checkpoint may come from a stranger, so its word never leads to any other import.

    Raises:
        GANError: If no such class has been imported.
    """
    for cls in reversed(known_classes(base)):  # a class defined twice, as in a notebook, is the newer one
        if class_path(cls) == name:
            return cls
    raise GANError(
        f"The checkpoint was made by '{name}', which is not known here: import that class first (the commands import "
        f"it where --model names it)."
    )


def known_classes(base: type) -> list[type]:
    """Return `base` and its subclasses, without the abstract ones, as far as they are imported; this library's are."""
    for name in gan_modules.__all__:
        getattr(gan_modules, name)  # they are loaded when first used
    known: list[type] = [base]
    for cls in known:
        subclasses: list[type] = cls.__subclasses__()
        known.extend(sub for sub in subclasses if sub not in known)
    return [cls for cls in known if not inspect.isabstract(cls)]


def import_class(name: str, base: type, option: str) -> type:
    """Return the class that the user names: a known one, as ``DCGAN``, or one to import, as ``mine.LSGAN``.

    Only a user's word comes here, never a file's.

    Args:
        name: The class.
        base: What it must be a part of.
        option: The argument that names it, for the message.

    Raises:
        GANError: If there is no such class; it names the nearest one.
    """
    module, _, short = name.rpartition(".")
    if module:
        found = getattr(import_own(module, f"--{option} {name}"), short, None)
        if not (inspect.isclass(found) and issubclass(found, base)):
            raise GANError(f"--{option} {name}: '{module}' has no {base.__name__} class '{short}'.")
        return found
    known = [cls for cls in known_classes(base) if not cls.__module__.startswith("lightning.")]
    named = {cls.__name__: cls for cls in known}
    if name not in named:
        near = difflib.get_close_matches(name, list(named), n=1)
        guess = f", did you mean '{near[0]}'?" if near else ""
        raise GANError(f"There is no {option} class '{name}'{guess} (there are {', '.join(sorted(named))}).")
    return named[name]


def import_own(module: str, asker: str) -> ModuleType:
    """Return a module that the user names; an error in it is raised as it is.

    Raises:
        GANError: If there is no such module.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # the module is there, and misses another
        raise GANError(
            f"{asker}: there is no module '{error.name}' in this folder or among the installed packages."
        ) from error
