"""Reading the weights of feature networks safely from any file."""

from __future__ import annotations

import hashlib
import pickle
import re
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from gan_modules.errors import GANError


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def downloaded(url: str, owner: str, name: str | None = None) -> Path:
    """Return a published file in torch.hub's folder, downloaded if it is not there yet.

    Args:
        url: Where the file is published.
        owner: Class of the feature network, for the message.
        name: The file's name in the folder; by default the URL's last part.

    Raises:
        GANError: If it cannot be downloaded.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / (name or url.rpartition("/")[2])
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            prefix = re.search(r"-([0-9a-f]{8,})\.", path.name)  # of the SHA-256, where the publisher put it there
            torch.hub.download_url_to_file(url, str(path), prefix[1] if prefix else None, progress=False)
        except (OSError, RuntimeError) as error:
            raise GANError(
                f"The weights of {owner} could not be downloaded ({error}): put {url} into {path.parent} as "
                f"{path.name}, or pass the file's path as weights=..."
            ) from error
    return path


def read_weights(path: Path, expected: str) -> dict[str, Tensor]:
    """Return the tensors of a file in safetensors' or ``torch.save``'s format; nothing in it is executed.

    Args:
        path: The file.
        expected: The file that it should be, for the messages.

    Raises:
        GANError: If the file is missing, damaged or holds more than tensors.
    """
    if not path.is_file():
        raise GANError(f"There is no file {path}: weights=... should name {expected}.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError, SafetensorError) as error:
        raise GANError(f"{path} is damaged or holds more than weights: replace it by {expected}.") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise GANError(f"{path} holds other weights than {expected}.")
    return state
