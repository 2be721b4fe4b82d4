"""Image files of any format, mode and size, each read and brought to one shape when a batch needs it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import IO, Literal

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from .base import Batch, BatchedDataset, DataError
from .unreadable import SkipUnreadable

Crop = Literal["center", "random", "stretch"]
MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # Pillow's name for images of so many channels
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")  # whatever the suffix says; EPS would start Ghostscript


class ImageFiles(BatchedDataset):
    """Images ``(N, C, H, W)`` uint8, and labels ``(N,)`` where given, read from files when a batch needs them.

    Args:
        paths: The files.
        labels: Class indices ``(len(paths),)`` int64, or None.
        size: Height and width of the images (pixels).
        channels: 1 (grey), 3 (RGB) or 4 (RGBA).
        crop: What to keep of an image whose proportions differ; see ``fit``.
        flip: Whether to mirror every second image, at random.
        skip_unreadable: Whether to replace an image that cannot be read by the next one that can.
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
    ) -> None:
        self.paths = paths
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
        return read_image(self.paths[index], self.channels)

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
    """Return the images below a folder, sorted, as paths relative to it with forward slashes; none is opened.

    Hidden files, hidden folders and files without an image's suffix are left out. Links are followed, but no folder is
    listed twice, since a link to a parent folder would never end.
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
        found += [prefix + name for name in files if name.lower().endswith(SUFFIXES) and not name.startswith(".")]
    return sorted(found)


def read_image(path: str | IO[bytes], channels: int) -> Image.Image:
    """Return the file's (first) image, upright by its EXIF orientation, 8 bits deep in 1, 3 or 4 channels.

    The file may be open already, as in an archive. Transparency becomes white unless ``channels`` is 4;
    16-bit greys are scaled by 1/257.

    Raises:
        DataError: If the file is missing, not an image, cut short, or has pixels of unknown range; it names the file.
    """
    try:
        with Image.open(path, formats=FORMATS) as file:
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
        name = path if isinstance(path, str) else path.name
        raise DataError(f"Cannot read the image {name} ({error}): repair or remove it.") from error


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
