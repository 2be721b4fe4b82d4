"""Your own folder of images."""

from __future__ import annotations

import os

import torch
from torch import Tensor

from .base import DataError, require
from .image_files import MODES, SUFFIXES, Crop, ImageFiles, list_images
from .in_memory import require_fraction, split_indices
from .packed import PackedImages, pack_images
from .unreadable import FilesDataModule

Images = ImageFiles | PackedImages


class ImageFolderDataModule(FilesDataModule):
    """Every image below a folder, whatever its format, mode and size; with classes, one subfolder each.

    PNG, JPEG, WebP, BMP, GIF (first frame) and TIFF are read when a batch needs them: greys of 8 and 16 bits, palettes,
    CMYK, RGB, RGBA (transparency on white unless ``channels`` is 4), upright by their EXIF orientation. Hidden files
    and other files are left out.

    Args:
        folder: The folder, searched recursively.
        image_size: Side, or height and width, of the images (pixels), resized bilinearly and antialiased.
        channels: 1 (grey), 3 (RGB) or 4 (RGBA).
        num_classes: 0 to take all images as one set; otherwise the number of subfolders, whose sorted names are the
            classes 0, 1, …
        crop: What to keep of an image whose proportions differ: "center" and "random" cut the largest window that fits
            (validation always takes the centre), "stretch" keeps everything and loses the proportions.
        horizontal_flip: Whether to mirror every second training image, at random.
        skip_unreadable: Whether to replace an image that cannot be read by the next one, with a warning and a count at
            the end, instead of stopping.
        pack: Folder for one file that holds all images, cropped and resized once, and is mapped into memory: batches
            then take almost no time and need no ``num_workers``. Other images or arguments make another file.
            With ``skip_unreadable``, the file leaves unreadable images out.
        val_fraction: Share of the images kept for validation.
        batch_size: Images in a batch, in each process.
        num_workers: Processes that load data besides the main one.
        seed: Seed of the split and of the order of the training data.

    Raises:
        DataError: If an argument is out of range, the folder is missing or holds no image, its subfolders are not
            ``num_classes``, or, while a batch is loaded, an image cannot be read.

    Example:
        >>> ImageFolderDataModule("photographs", image_size=(48, 64)).image_shape
        (3, 48, 64)
    """

    def __init__(
        self,
        folder: str,
        *,
        image_size: int | tuple[int, int] = 64,
        channels: int = 3,
        num_classes: int = 0,
        crop: Crop = "center",
        horizontal_flip: bool = False,
        skip_unreadable: bool = False,
        pack: str | None = None,
        val_fraction: float = 0.1,
        batch_size: int = 64,
        num_workers: int = 4,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size=batch_size, num_workers=num_workers, seed=seed)
        height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
        require(min(height, width) >= 1, f"image_size={image_size} must be at least 1.")
        require(channels in MODES, f"channels={channels} must be 1 (grey), 3 (RGB) or 4 (RGBA).")
        require(num_classes >= 0, f"num_classes={num_classes} must not be negative.")
        require(crop in ("center", "random", "stretch"), f"crop={crop!r} must be 'center', 'random' or 'stretch'.")
        require(
            pack is None or crop != "random",
            "pack= keeps one crop of each image: choose crop='center' or 'stretch', or leave pack out.",
        )
        require_fraction(val_fraction)
        self.folder = os.path.expanduser(folder)
        self.image_size = (height, width)
        self.channels = channels
        self.crop: Crop = crop
        self.horizontal_flip = horizontal_flip
        self.skip_unreadable = skip_unreadable
        self.pack = None if pack is None else os.path.expanduser(pack)
        self.val_fraction = val_fraction
        self._num_classes = num_classes

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """``(channels, height, width)``."""
        return (self.channels, *self.image_size)

    @property
    def num_classes(self) -> int:
        """Number of subfolders that are classes, as given."""
        return self._num_classes

    def prepare_data(self) -> None:
        """Pack the images, in one process, if ``pack`` is given and they are not packed yet."""
        if self.pack is not None:
            pack_images(self._files(self._names()), self.pack, self.num_workers)

    def load(self) -> tuple[Images, Images, Images]:
        """List the images and split them at random; the validation set is the test set too."""
        names = self._names()
        labels = self._labels(names) if self._num_classes else None
        pack = None if self.pack is None else pack_images(self._files(names), self.pack, self.num_workers)

        def subset(rows: Tensor, *, flip: bool = False, crop: Crop | None = None) -> Images:
            of_rows = None if labels is None else labels[rows]
            if pack is not None:
                return PackedImages(pack, rows, of_rows, flip=flip)
            return self._files([names[row] for row in rows.tolist()], of_rows, flip, crop)

        usable = torch.arange(len(names)) if pack is None else pack.readable.nonzero().flatten()
        generator = torch.Generator().manual_seed(self.seed)
        train, val = (usable[rows] for rows in split_indices(len(usable), self.val_fraction, generator))
        val_set = subset(val, crop="center" if self.crop == "random" else self.crop)
        return subset(train, flip=self.horizontal_flip), val_set, val_set

    def _names(self) -> list[str]:
        require(
            os.path.isdir(self.folder), f"There is no folder {self.folder}: pass the folder of the images as folder=."
        )
        names = list_images(self.folder)
        require(bool(names), f"{self.folder} holds no image: put some there ({' '.join(SUFFIXES)}).")
        return names

    def _files(
        self, names: list[str], labels: Tensor | None = None, flip: bool = False, crop: Crop | None = None
    ) -> ImageFiles:
        return ImageFiles(
            [os.path.join(self.folder, name) for name in names],
            labels,
            self.image_size,
            channels=self.channels,
            crop=crop or self.crop,
            flip=flip,
            skip_unreadable=self.skip_unreadable,
        )

    def _labels(self, names: list[str]) -> Tensor:
        classes = sorted({name.split("/")[0] for name in names if "/" in name})
        if len(classes) != self._num_classes:
            raise DataError(
                f"{self.folder} has {len(classes)} subfolders with images, not num_classes={self._num_classes}: "
                f"pass num_classes={len(classes)}, or 0 for images without labels."
            )
        loose = next((name for name in names if "/" not in name), None)
        require(loose is None, f"{loose} lies in no subfolder of {self.folder}: move it into a class or remove it.")
        index = {name: label for label, name in enumerate(classes)}
        return torch.tensor([index[name.split("/")[0]] for name in names])
