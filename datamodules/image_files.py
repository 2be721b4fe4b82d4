"""Image files of any format, mode and size, each read and brought to one shape when a batch needs it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import IO, Literal, Protocol

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_warn
from PIL import Image, ImageOps
from torch import Tensor

from .base import Batch, BatchedDataset, DataError
from .printed import first_names, legible
from .unreadable import SkipUnreadable

Crop = Literal["center", "random", "stretch"]
MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # Pillow's name for images of so many channels
SUFFIXES = (".png", ".jpg", ".jpeg", ".jfif", ".webp", ".avif", ".bmp", ".gif", ".tif", ".tiff", ".ppm")  # the usual
# formats that their first bytes give away, so that they are known whatever the suffix says
SIGNED = ("PNG", "JPEG", "WEBP", "AVIF", "BMP", "GIF", "TIFF", "PPM", "JPEG2000", "QOI")
# formats that start another program (Ghostscript), or that Pillow knows and cannot decode
NOT_READ = ("EPS", "WMF", "MPEG", "BUFR", "GRIB", "HDF5")
COMPANIONS = ("dataset.json",)  # files that are read beside the images


class Archive(Protocol):
    """Holds files by their names."""

    def open(self, name: str) -> IO[bytes]:
        """Return an open file."""

    def stamp(self, name: str) -> tuple[int, int]:
        """Return two numbers that differ when the file does."""


class ImageFiles(BatchedDataset):
    """Images ``(N, C, H, W)`` uint8, and labels ``(N,)`` where given, read from files when a batch needs them.

    Args:
        paths: The files; their names in the archive, where there is one.
        labels: Class indices ``(len(paths),)`` int64, or None.
        size: Height and width of the images (pixels).
        channels: 1 (grey), 3 (RGB) or 4 (RGBA).
        crop: What to keep of an image whose proportions differ; see ``fit``.
        flip: Whether to mirror every second image, at random.
        skip_unreadable: Whether to replace an image that cannot be read by the next one that can.
        archive: What holds the files, if not the disk.
    """

    def __init__(
        self,
        paths: Sequence[str],
        labels: Tensor | None,
        size: tuple[int, int],
        *,
        channels: int = 3,
        crop: Crop = "center",
        flip: bool = False,
        skip_unreadable: bool = False,
        archive: Archive | None = None,
    ) -> None:
        self.paths = paths
        self.archive = archive
        self.labels = labels
        self.size = size
        self.channels = channels
        self.crop = crop
        self.flip = flip
        self.reader = SkipUnreadable(paths, skip_unreadable)

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def skipped(self) -> list[str]:
        """The files that could not be read so far."""
        return self.reader.skipped

    def __getitems__(self, indices: list[int]) -> Batch:
        files = [self.reader.read(index, self._read) for index in indices]
        images = torch.stack([self._pixels(image) for image, _ in files])
        return (images,) if self.labels is None else (images, self.labels[[index for _, index in files]])

    def _read(self, index: int) -> Image.Image:
        path = self.paths[index]
        if self.archive is None:
            return read_image(path, self.channels)
        with self.archive.open(path) as file:
            return read_image(file, self.channels)

    def _pixels(self, image: Image.Image) -> Tensor:
        image = fit(image, self.size, self.crop)
        if self.flip and torch.rand(()) < 0.5:
            image = ImageOps.mirror(image)
        return pixels(image, self.channels)


def pixels(image: Image.Image, channels: int) -> Tensor:
    """Return the image as uint8 ``(C, H, W)``."""
    array = np.array(image).reshape(image.height, image.width, channels)
    return torch.from_numpy(array).permute(2, 0, 1).contiguous()


def list_images(folder: str) -> list[str]:
    """Return the images below a folder, sorted, as paths relative to it with forward slashes.

    A file is an image if its suffix is one of a format that Pillow reads, or, failing that, its first bytes are. Others
    are left out, with a warning that counts and names them; hidden files and folders, without. Links are followed, but
    no folder is listed twice, since a link to a parent folder would never end.
    """
    found: list[str] = []
    visited: set[tuple[int, int]] = set()
    for parent, folders, files in os.walk(folder, followlinks=True):
        inode = os.stat(parent)
        if (inode.st_dev, inode.st_ino) in visited:
            folders.clear()
            continue
        visited.add((inode.st_dev, inode.st_ino))
        folders[:] = [name for name in folders if not name.startswith(".")]
        below = os.path.relpath(parent, folder).replace(os.sep, "/")
        prefix = "" if below == "." else f"{below}/"
        found += [prefix + name for name in files if not name.startswith(".")]
    return choose_images(folder, found, lambda name: open_plain(os.path.join(folder, name)))


def choose_images(place: str, names: Sequence[str], opened: Callable[[str], IO[bytes]]) -> list[str]:
    """Return the images among the files of a place, sorted; see ``list_images``.

    Args:
        place: Folder or archive, for the warning.
        names: Its files.
        opened: Opens one; only those of unknown suffix are opened.
    """
    by_suffix = readable_suffixes()
    chosen = {name for name in names if _suffix(name) in by_suffix or _shows_an_image(name, opened)}
    left_out = sorted(name for name in names if name not in chosen and name not in COMPANIONS)
    if left_out:
        files = "1 file is" if len(left_out) == 1 else f"{len(left_out)} files are"
        rank_zero_warn(f"Of {place}, {files} left out, in which Pillow finds no image: {first_names(left_out)}.")
    return sorted(chosen)


def open_plain(path: str) -> IO[bytes]:
    """Return the open file.

    Raises:
        OSError: If it is missing, or none that ends, such as a pipe.
    """
    if not os.path.isfile(path):
        raise OSError("not a plain file")
    return open(path, "rb")


def readable_suffixes() -> dict[str, str]:
    """Return the formats that Pillow reads here by their suffixes, its plugins' included."""
    suffixes = Image.registered_extensions()  # which loads the formats
    readable = {*Image.OPEN, "MPO"} - {*NOT_READ}  # MPO is opened as JPEG
    return {suffix: name for suffix, name in suffixes.items() if name in readable}


def image_formats(name: str) -> list[str]:
    """Return the formats that a file of this name may have: those with a signature, and that of its suffix."""
    own = readable_suffixes().get(_suffix(name))
    return [known for known in dict.fromkeys((*SIGNED, own)) if known in Image.OPEN]


def saved_name(name: str) -> str:
    """Return the name under which an image read from `name` is saved: as PNG, where its format is not a usual one."""
    return name if _suffix(name) in SUFFIXES else f"{name}.png"


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _shows_an_image(name: str, opened: Callable[[str], IO[bytes]]) -> bool:
    try:
        with opened(name) as file, Image.open(file, formats=image_formats("")):
            return True
    except Exception:  # each format, and each archive, has its own way to say no
        return False


def read_image(path: str | IO[bytes], channels: int) -> Image.Image:
    """Return the file's (first) image, upright by its EXIF orientation, 8 bits deep in 1, 3 or 4 channels.

    The file may be open already, as in an archive. Transparency becomes white unless ``channels`` is 4;
    16-bit greys are scaled by 1/257.

    Raises:
        DataError: If the file is missing, not an image, cut short, or has pixels of unknown range; it names the file.
    """
    name = path if isinstance(path, str) else path.name
    try:
        with Image.open(path, formats=image_formats(name)) as file:
            image = ImageOps.exif_transpose(file)
            if image.mode == "F":
                raise ValueError("floating-point pixels have no known range")
            if image.mode.startswith("I"):
                image = _eight_bits(image)
            has_alpha = image.mode.endswith(("A", "a")) or "transparency" in image.info
            image = image.convert("RGBA" if has_alpha else "RGB")
            if has_alpha and channels != 4:
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            return image.convert(MODES[channels])
    except Exception as error:  # each of Pillow's formats fails in its own way
        raise DataError(f"Cannot read the image {legible(name)} ({error}): repair or remove it.") from error


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scale 16-bit greys to 8 bits, to the nearest; Pillow's own conversion clips them."""
    greys = np.asarray(image).astype(np.int64)
    if greys.min() < 0 or greys.max() > 65535:
        raise ValueError("its greys lie outside 0 to 65535")
    return Image.fromarray(((greys + 128) // 257).astype(np.uint8))


def fit(image: Image.Image, size: tuple[int, int], crop: Crop) -> Image.Image:
    """Return the image at a height and width (pixels), resized bilinearly and antialiased.

    ``crop`` is "center" (the largest window of the right proportions, centred), "random" (such a window anywhere) or
    "stretch" (the whole image, proportions lost).
    """
    height, width = size
    if crop != "stretch":
        scale = min(image.width / width, image.height / height)
        window = (max(1, round(width * scale)), max(1, round(height * scale)))
        slack = (image.width - window[0], image.height - window[1])
        if crop == "center":
            left, top = (round(s / 2) for s in slack)
        else:
            left, top = (int(torch.randint(s + 1, ())) for s in slack)
        image = image.crop((left, top, left + window[0], top + window[1]))
    return image.resize((width, height), Image.Resampling.BILINEAR)
