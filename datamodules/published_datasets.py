"""The sets published with Pix2Pix and CycleGAN, downloaded by name."""

from __future__ import annotations

import os
import tarfile
import tempfile
import urllib.request
import zipfile
from http.client import HTTPException
from typing import NamedTuple

from tqdm import tqdm

from .base import DataError

SERVER = "http://efrosgans.eecs.berkeley.edu"
CHUNK = 1 << 20  # bytes read at a time


class Archive(NamedTuple):
    """An archive on the server: its path there, and its size in bytes where known beforehand."""

    path: str
    size: int | None = None


PAIRED_SETS = {
    name: Archive(f"pix2pix/datasets/{name}.tar.gz", size)
    for name, size in {
        "facades": 30_168_306,
        "cityscapes": 103_441_232,
        "maps": 250_242_400,
        "night2day": None,
        "edges2shoes": None,
        "edges2handbags": None,
    }.items()
}
UNPAIRED_SETS = {
    name: Archive(f"cyclegan/datasets/{name}.zip", size)
    for name, size in {
        "horse2zebra": 116_867_962,
        "apple2orange": 78_456_409,
        "summer2winter_yosemite": 132_640_856,
        "monet2photo": 305_231_073,
        "cezanne2photo": 279_885_071,
        "ukiyoe2photo": 292_946_532,
        "vangogh2photo": 306_590_349,
        "maps": 1_476_754_427,
        "cityscapes": 279_601_602,
        "facades": 35_135_868,
        "iphone2dslr_flower": 339_964_458,
    }.items()
}


def fetch(archive: Archive, folder: str) -> None:
    """Download an archive and unpack it as `folder`, unless that folder is there already.

    Raises:
        DataError: If the server cannot be reached, or the archive is incomplete or damaged.
    """
    if os.path.isdir(folder):
        return
    parent = os.path.dirname(os.path.abspath(folder))
    os.makedirs(parent, exist_ok=True)
    url = f"{SERVER}/{archive.path}"
    # beside the set's folder, so that the last step is a rename: a set is complete, or not there at all
    with tempfile.TemporaryDirectory(dir=parent, prefix=".fetching_") as scratch:
        packed = os.path.join(scratch, os.path.basename(archive.path))
        try:
            received, announced = _download(url, packed)
        except (OSError, HTTPException) as error:
            raise DataError(
                f"{url} could not be fetched ({error}): try again later, or unpack the archive by hand to {folder}."
            ) from error
        expected = archive.size or announced
        if expected is not None and received != expected:
            raise DataError(
                f"{url} gave {received} bytes, not {expected}: try again, or unpack the archive by hand to {folder}."
            )
        unpacked = os.path.join(scratch, "unpacked")
        try:
            _unpack(packed, unpacked)
        except (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile) as error:
            raise DataError(f"{url} cannot be unpacked ({error}): try again later.") from error
        tops = os.listdir(unpacked)
        os.rename(os.path.join(unpacked, tops[0]) if len(tops) == 1 else unpacked, folder)


def _download(url: str, path: str) -> tuple[int, int | None]:
    """Return the number of bytes received, and the number announced."""
    with urllib.request.urlopen(url, timeout=30) as response, open(path, "wb") as file:
        announced = int(response.headers["Content-Length"]) if response.headers["Content-Length"] else None
        with tqdm(total=announced, unit="B", unit_scale=True, desc=os.path.basename(path)) as bar:
            while chunk := response.read(CHUNK):
                bar.update(file.write(chunk))
        return file.tell(), announced


def _unpack(packed: str, folder: str) -> None:
    """Unpack into `folder`; names that lead out of it are refused or made harmless."""
    if packed.endswith(".zip"):
        with zipfile.ZipFile(packed) as archive:
            archive.extractall(folder)
    else:
        with tarfile.open(packed) as archive:
            archive.extractall(folder, filter="data")
