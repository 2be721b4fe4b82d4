"""Your own folder of images."""

from __future__ import annotations

import os
from functools import cached_property

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from .base import DataError, require
from .image_files import MODES, Crop, ImageFiles
from .in_memory import require_fraction, split_indices
from .layout import Split, find_splits, natural_order
from .packed import PackedImages, pack_images
from .places import Place
from .printed import legible
from .unreadable import FilesDataModule

Images = ImageFiles | PackedImages


class ImageFolderDataModule(FilesDataModule):
    """Every image below a folder or in a zip file, whatever its format, mode and size; with classes where asked for.

    All that Pillow reads is read when a batch needs it: greys of 8 and 16 bits, palettes, CMYK, RGB, RGBA (transparency
    on white unless ``channels`` is 4), the first frame of several, upright by their EXIF orientation. Hidden files are
    left out; other files too, with a warning that counts and names them.

    Folders called train, val (or valid, validation) and test, in upper or lower case, are the splits, above or below
    the folders of the classes. Without a val, test validates, and the other way round. A set without splits is split at
    random, and its validation set is the test set too.

    The classes are the subfolders, in natural order (2 before 10), or the class indices in the ``dataset.json`` of
    NVIDIA's dataset_tool.

    Args:
        folder: The folder, searched recursively, or the zip file.
        image_size: Side, or height and width, of the images (pixels), resized bilinearly and antialiased.
        channels: 1 (grey), 3 (RGB) or 4 (RGBA).
        num_classes: 0 to leave labels out; otherwise the number of classes.
        crop: What to keep of an image whose proportions differ: "center" and "random" cut the largest window that fits
            (validation always takes the centre), "stretch" keeps everything and loses the proportions.
        horizontal_flip: Whether to mirror every second training image, at random.
        skip_unreadable: Whether to replace an image that cannot be read by the next one, with a warning and a count at
            the end, instead of stopping.
        pack: Folder for one file that holds all images, cropped and resized once, and is mapped into memory: batches
            then take almost no time and need no ``num_workers``. Other images or arguments make another file.
            With ``skip_unreadable``, the file leaves unreadable images out.
        val_fraction: Share of the images kept for validation, where there are no splits.
        batch_size: Images in a batch, in each process.
        num_workers: Processes that load data besides the main one.
        seed: Seed of the split and of the order of the training data.

    Raises:
        DataError: If an argument is out of range, the folder is missing or holds no image, its classes are not
            ``num_classes``, images lie beside its splits, or, while a batch is loaded, an image cannot be read.

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
        """Number of classes, as given."""
        return self._num_classes

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes by label, from the disk; empty where ``num_classes`` is 0."""
        return self._labelling[0]

    def prepare_data(self) -> None:
        """Pack the images, in one process, if ``pack`` is given and they are not packed yet."""
        if self.pack is not None:
            pack_images(self._files(self._place.names), self.pack, self.num_workers)

    def load(self) -> tuple[Images, Images, Images]:
        """List the images, and split them at random where they do not come split."""
        names = self._place.names
        classes, labels = self._labelling
        if list(classes) != sorted(classes):
            rank_zero_info(f"Classes are in natural order: {legible(', '.join(classes))}.")
        pack = None if self.pack is None else pack_images(self._files(names), self.pack, self.num_workers)

        def subset(rows: Tensor, *, flip: bool = False, crop: Crop | None = None) -> Images:
            of_rows = None if labels is None else labels[rows]
            if pack is not None:
                return PackedImages(pack, rows, of_rows, flip=flip)
            return self._files([names[row] for row in rows.tolist()], of_rows, flip, crop)

        usable = torch.arange(len(names)) if pack is None else pack.readable.nonzero().flatten()
        train, val, test = self._split(usable)
        fixed: Crop = "center" if self.crop == "random" else self.crop
        val_set = subset(val, crop=fixed)
        return subset(train, flip=self.horizontal_flip), val_set, val_set if test is val else subset(test, crop=fixed)

    @cached_property
    def _place(self) -> Place:
        require(
            os.path.exists(self.folder),
            f"There is no folder {legible(self.folder)}: pass the folder of the images as folder=.",
        )
        return Place(self.folder)

    @cached_property
    def _layout(self) -> tuple[list[Split | None], list[str]]:
        return find_splits(self.folder, self._place.names)

    @cached_property
    def _labelling(self) -> tuple[tuple[str, ...], Tensor | None]:
        """The classes' names, and the label of each image ``(N,)``; nothing where no labels are asked for."""
        if not self._num_classes:
            return (), None
        splits, names = self._layout
        noted = self._place.labels()
        if noted is not None:
            require(
                bool(noted),
                f"The dataset.json of {legible(self.folder)} holds no labels: pass num_classes=0, or remove it where "
                f"the subfolders are classes.",
            )
            labels = torch.tensor([noted[name] for name in self._place.names])
            self._check_count(int(labels.max()) + 1, "classes in its dataset.json")
            return tuple(map(str, range(self._num_classes))), labels
        of_train = {name for name, split in zip(names, splits, strict=True) if split in (None, "train")}
        classes = natural_order({name.split("/")[0] for name in of_train if "/" in name})
        self._check_count(len(classes), "subfolders with images")
        index = {name: label for label, name in enumerate(classes)}
        for path, name in zip(self._place.names, names, strict=True):
            if "/" not in name:
                raise DataError(
                    f"{legible(path)} lies in no subfolder of {legible(self.folder)}: move it into a class or "
                    f"remove it."
                )
            if name.split("/")[0] not in index:
                raise DataError(
                    f"{legible(path)} in {legible(self.folder)} is of a class that no training image has: remove it."
                )
        return tuple(classes), torch.tensor([index[name.split("/")[0]] for name in names])

    def _check_count(self, found: int, what: str) -> None:
        if found != self._num_classes:
            raise DataError(
                f"{legible(self.folder)} has {found} {what}, not num_classes={self._num_classes}: pass "
                f"num_classes={found}, or 0 for images without labels."
            )

    def _split(self, usable: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return which of the images ``(N,)`` are to train, to validate, to test."""
        splits, _ = self._layout
        if not any(splits):
            generator = torch.Generator().manual_seed(self.seed)
            train, val = (usable[rows] for rows in split_indices(len(usable), self.val_fraction, generator))
            return train, val, val
        of = {split: usable[[splits[row] == split for row in usable.tolist()]] for split in ("train", "val", "test")}
        val = of["val"] if len(of["val"]) else of["test"]
        return of["train"], val, of["test"] if len(of["test"]) else val

    def _files(
        self, names: list[str], labels: Tensor | None = None, flip: bool = False, crop: Crop | None = None
    ) -> ImageFiles:
        return ImageFiles(
            self._place.paths(names),
            labels,
            self.image_size,
            channels=self.channels,
            crop=crop or self.crop,
            flip=flip,
            skip_unreadable=self.skip_unreadable,
            archive=self._place.archive,
        )
