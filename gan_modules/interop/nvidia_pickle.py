"""A pickle machine for the networks of NVIDIA's files: it builds dictionaries and tensors, and can do nothing else."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor

from gan_modules.engine.checkpoint import claims_more_than_it_holds
from gan_modules.errors import GANError

FORMAT_VERSION = 6


class RefusedError(Exception):
    """What is wrong with a file, as the end of a sentence."""


class PickledModule(NamedTuple):
    """One module of a network, as it stands in a file.

    Attributes:
        class_name: Of its class, whose source was in the file.
        state: Its attributes by name.
    """

    class_name: str
    state: dict[str, Any]

    def part(self, name: str) -> dict[str, Any]:
        """One of the dictionaries among its attributes; empty where it is missing.

        Raises:
            RefusedError: If the attribute is no such dictionary.
        """
        found = self.state.get(name, {})
        if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
            raise RefusedError(f"the {name} of a module are no dictionary.")
        return found

    def tensors(self, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
        """Its tensors and those of its parts, by name.

        Raises:
            RefusedError: If one of them is no tensor, or larger than what the file holds of it.
        """
        for name, tensor in (self.part("_parameters") | self.part("_buffers")).items():
            if isinstance(tensor, Tensor) and not claims_more_than_it_holds(tensor):
                yield f"{prefix}{name}", tensor
            elif tensor is not None:
                raise RefusedError(f"{prefix + name!r:.100} is no tensor that the file holds in full.")
        for name, module in self.part("_modules").items():
            if not isinstance(module, PickledModule):
                raise RefusedError(f"{prefix + name!r:.100} is no module.")
            yield from module.tensors(f"{prefix}{name}.")


def unpickle(path: Path) -> Any:
    """What a file holds, in dictionaries, tensors, plain values and `PickledModule`.

    Raises:
        GANError: If the file is missing or damaged, or refers to anything else, which is named.
    """
    if not path.is_file():
        raise GANError(f"There is no file '{path}': pass a .pkl of NVIDIA's StyleGAN2-ADA, such as ffhq.pkl.")
    try:
        with path.open("rb") as file:
            return _Unpickler(file).load()
    except RefusedError as error:
        raise GANError(f"'{path}' was not read: {error}") from error
    except Exception as error:  # the pickle machine raises any kind for one thing: these bytes are no such file
        raise GANError(f"'{path}' cannot be read: it is damaged, cut short, or no pickle; get it again.") from error


class _Unpickler(pickle.Unpickler):
    """A pickle machine that can build what `_KNOWN` builds, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        known = _KNOWN.get(f"{module}.{name}")
        if known is None:
            raise RefusedError(
                f"it refers to {f'{module}.{name}'!r:.100}, which a .pkl of StyleGAN2-ADA has no need of; nothing of "
                "it was executed."
            )
        return known


class _Known:
    """A function that a pickle may call. To a function itself, a pickle could also give another body."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, *args: Any) -> Any:
        return self.function(*args)

    def __setstate__(self, state: Any) -> NoReturn:
        raise pickle.UnpicklingError("A function has no state.")


class _Ignored:
    """Stands for what is of no use here, such as NumPy's numbers, and does nothing."""

    def __init__(self, *args: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def _module(meta: dict[str, Any]) -> PickledModule:
    if meta["type"] != "class" or meta["version"] != FORMAT_VERSION:
        raise RefusedError(
            f"its modules are of format version {meta['version']!r:.20}; only {FORMAT_VERSION} is known."
        )
    if not isinstance(meta["class_name"], str) or not isinstance(meta["state"], dict):
        raise pickle.UnpicklingError("A module is a name and a dictionary.")
    return PickledModule(meta["class_name"], meta["state"])


def _storage(data: bytes) -> Any:
    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


def _tensor(storage: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor:
    if not isinstance(storage, torch.storage.TypedStorage):
        raise pickle.UnpicklingError("A tensor needs a storage.")
    reach = offset + 1 + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    held = storage._untyped_storage.nbytes() // storage.dtype.itemsize
    if min((offset, *size, *stride)) < 0 or (0 not in size and reach > held):  # set_ would make it larger
        raise pickle.UnpicklingError("A tensor claims more than its storage holds.")
    return torch.empty(0, dtype=storage.dtype).set_(storage._untyped_storage, offset, size, stride)


_KNOWN: dict[str, Any] = {
    "collections.OrderedDict": dict,
    "dnnlib.util.EasyDict": dict,
    "torch_utils.persistence._reconstruct_persistent_obj": _Known(_module),
    "torch.storage._load_from_bytes": _Known(_storage),
    "torch._utils._rebuild_tensor_v2": _Known(_tensor),
    "torch._utils._rebuild_parameter": _Known(lambda tensor, *_: tensor),
    **{f"numpy.{name}": _Ignored for name in ("dtype", "ndarray")},
    **{
        f"numpy.{core}.multiarray.{name}": _Ignored for core in ("core", "_core") for name in ("scalar", "_reconstruct")
    },
}
