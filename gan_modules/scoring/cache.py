"""A cache on disk for features of real samples, by the hashes of samples and network."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import torch
from lightning.pytorch.utilities import rank_zero_warn
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from gan_modules.engine.checkpoint import write_atomically
from gan_modules.errors import GANError

FOLDER = "GAN_MODULES_CACHE"  # the environment variable that names the folder


class FeatureCache:
    """A folder of features, one file per block of samples. A damaged file counts as missing; any may be deleted.

    Args:
        folder: The folder; by default ``$GAN_MODULES_CACHE``, else ``gan_modules`` in the user's cache folder.
    """

    def __init__(self, folder: Path | None = None) -> None:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        self.folder = Path(folder or os.environ.get(FOLDER) or Path(home) / "gan_modules").expanduser()

    def get(self, key: str) -> dict[str, Tensor] | None:
        """Return the tensors stored under a key, or `None`."""
        try:
            with safe_open(self._path(key), framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                written = (file.metadata() or {}).get("digest")
        except (OSError, SafetensorError):
            return None
        return tensors if written == _digest(tensors) else None

    def put(self, key: str, tensors: dict[str, Tensor]) -> None:
        """Store tensors under a key, or warn if the disk refuses."""
        data = save(tensors, {"digest": _digest(tensors)})
        try:
            write_atomically(self._path(key), lambda file: file.write(data))
        except GANError as error:
            rank_zero_warn(f"Features of the reals are not cached for the next run: {error}")

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.safetensors"


def _digest(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def sample_digests(samples: Tensor) -> list[bytes]:
    """Return a hash of 16 bytes for each quantized sample ``(N, …)``, of its shape and values."""
    shape = repr(tuple(samples.shape[1:])).encode()
    rows = samples.contiguous().flatten(1).numpy()
    return [hashlib.blake2b(row, digest_size=16, key=shape).digest() for row in rows]


class SetDigest:
    """A hash of a set of samples that does not depend on their order, their batches or their processes.

    It is the sum of the samples' hashes modulo 2⁶⁴; a sample that occurs twice counts twice.
    """

    def __init__(self) -> None:
        self.total = torch.zeros((), dtype=torch.int64)

    def update(self, digests: list[bytes]) -> None:
        """Add samples by their hashes."""
        parts = b"".join(digest[:8] for digest in digests)
        self.total += torch.frombuffer(bytearray(parts), dtype=torch.int64).sum()

    def __str__(self) -> str:
        return f"{int(self.total) % 2**64:016x}"
