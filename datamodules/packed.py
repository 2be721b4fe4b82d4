"""Images decoded and resized once, then mapped from one file: batches load at the speed of memory."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from .base import Batch, BatchedDataset, DataError, collate_batch
from .image_files import ImageFiles

WRITE = 64  # images at a time
FORMAT = 1  # raise it when the same files would give other pixels


@dataclass(frozen=True)
class Pack:
    """A file of images.

    Attributes:
        path: Its path.
        shape: ``(N, C, H, W)`` of its pixels, uint8.
        readable: Which of the N files could be read ``(N,)`` bool; the others have the pixels of a neighbour.
        skipped: The files that could not be read.
    """

    path: str
    shape: tuple[int, ...]
    readable: Tensor
    skipped: list[str]


class PackedImages(BatchedDataset):
    """Some images ``(N, C, H, W)`` uint8 of a pack, and labels ``(N,)`` where given.

    Args:
        pack: Their file.
        rows: Which images of it these are ``(N,)``.
        labels: Class indices ``(N,)`` int64, or None.
        flip: Whether to mirror every second image, at random.
    """

    def __init__(self, pack: Pack, rows: Tensor, labels: Tensor | None, *, flip: bool = False) -> None:
        self.pack = pack
        self.rows = rows
        self.labels = labels
        self.flip = flip
        self.skipped = pack.skipped

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, indices: list[int]) -> Batch:
        images = torch.from_numpy(self.pixels[self.rows[indices].numpy()])
        if self.flip:
            mirrored = torch.rand(len(images)) < 0.5
            images[mirrored] = images[mirrored].flip(-1)
        return (images,) if self.labels is None else (images, self.labels[indices])

    @cached_property
    def pixels(self) -> NDArray[np.uint8]:
        """All images of the pack; the system reads each into memory on first use."""
        # read-only: for a writable mapping, the system would reserve memory for the whole file
        return np.asarray(np.memmap(self.pack.path, np.uint8, "r", shape=self.pack.shape))

    def __getstate__(self) -> dict[str, Any]:
        """Return everything but the mapping: the process that receives the set maps the file itself."""
        return {name: value for name, value in self.__dict__.items() if name != "pixels"}


def pack_images(files: ImageFiles, folder: str, num_workers: int) -> Pack:
    """Return the pack of the images, and write it to the folder first unless it is there.

    Its name depends on the images' names, sizes in bytes and times of change (of an archive's, checksums), and on their
    crop. It holds the pixels, then one byte for each file, 1 if the file could be read. It gets its name when it is
    complete.

    Args:
        files: The images, not mirrored and not cropped at random.
        folder: Folder of the packs; created if missing.
        num_workers: Processes that decode the images.

    Raises:
        DataError: If the folder is full or cannot be written, or an image cannot be read and is not skipped.
    """
    path = os.path.join(folder, f"{_key(files)}.images")
    if not os.path.exists(path):
        _write(files, path, num_workers)
    count = len(files)
    with open(path, "rb") as file:
        file.seek(-count, os.SEEK_END)
        readable = torch.frombuffer(bytearray(file.read()), dtype=torch.bool)
    skipped = [files.paths[row] for row in readable.logical_not().nonzero().flatten().tolist()]
    return Pack(path, (count, files.channels, *files.size), readable, skipped)


def _key(files: ImageFiles) -> str:
    stamp = files.archive.stamp if files.archive else _stamp
    found = [(path, *stamp(path)) for path in files.paths]
    whole = json.dumps([FORMAT, found, files.size, files.channels, files.crop, files.reader.enabled])
    return hashlib.sha256(whole.encode()).hexdigest()[:16]


def _stamp(path: str) -> tuple[int, int]:
    stat = os.stat(path)
    return stat.st_size, stat.st_mtime_ns


def _write(files: ImageFiles, path: str, num_workers: int) -> None:
    folder = os.path.dirname(path)
    needed = len(files) * (files.channels * math.prod(files.size) + 1)
    remedy = f"they take {needed / 2**20:.0f} MiB, free some or name another folder by pack="
    partial = f"{path}.{os.getpid()}"
    # a generator of its own for the workers' seeds: nothing is drawn from the training's noise
    loader = DataLoader(files, WRITE, num_workers=num_workers, collate_fn=collate_batch, generator=torch.Generator())
    try:
        os.makedirs(folder, exist_ok=True)
        if shutil.disk_usage(folder).free < needed:
            raise OSError("too little room")
        with open(partial, "wb") as file, tqdm(total=len(files), desc="Packing", unit=" images") as bar:
            for images, *_ in loader:
                file.write(images.numpy().tobytes())
                bar.update(len(images))
            file.write((~files.reader.unreadable).numpy().tobytes())
        os.replace(partial, path)
    except OSError as error:
        raise DataError(f"Cannot write the packed images to {folder} ({error}): {remedy}.") from error
    finally:
        if os.path.exists(partial):
            os.remove(partial)
