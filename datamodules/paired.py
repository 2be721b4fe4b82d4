"""Pairs of images that show the same thing in two domains."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Literal

import torch
from PIL import Image

from .base import Batch, BatchedDataset, DataError, require
from .image_files import SUFFIXES, list_images, pixels, read_image
from .in_memory import split_indices
from .layout import Split, find_splits
from .published_datasets import PAIRED_SETS
from .two_domains import Jitter, Size, TwoDomainDataModule, as_shape, resolve_load_size
from .unreadable import SkipUnreadable


class PairedImages(BatchedDataset):
    """Batches ``(a, b)`` of corresponding uint8 images ``(N, C, H, W)``, transformed alike.

    Args:
        pairs: Files of the two domains; the same file twice holds both images side by side.
        channels: Channels of the two domains.
        jitter: What to do with each pair.
        swap: Whether the second of a pair is domain A.
        skip_unreadable: Whether to replace a pair that cannot be read by the next one that can.
    """

    def __init__(
        self,
        pairs: Sequence[tuple[str, str]],
        channels: tuple[int, int],
        jitter: Jitter,
        swap: bool = False,
        skip_unreadable: bool = False,
    ) -> None:
        self.pairs = pairs
        self.channels = channels
        self.jitter = jitter
        self.swap = swap
        self.reader = SkipUnreadable([first for first, _ in pairs], skip_unreadable)

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def skipped(self) -> list[str]:
        """The first files of the pairs that could not be read so far."""
        return self.reader.skipped

    def __getitems__(self, indices: list[int]) -> Batch:
        pairs = (self.reader.read(index, self._read) for index in indices)
        columns = zip(*(self._transform(*self.pairs[index], *images) for images, index in pairs), strict=True)
        a, b = (
            torch.stack([pixels(image, channels) for image in column])
            for column, channels in zip(columns, self.channels, strict=True)
        )
        return a, b

    def _read(self, index: int) -> tuple[Image.Image, Image.Image]:
        first, second = self.pairs[index]
        # channels are given for domains A and B, which are the second and the first of the files where swapped
        of_first, of_second = reversed(self.channels) if self.swap else self.channels
        one = read_image(first, of_first)
        return one, one if (first, of_first) == (second, of_second) else read_image(second, of_second)

    def _transform(self, first: str, second: str, one: Image.Image, two: Image.Image) -> list[Image.Image]:
        if first == second:
            half, odd = divmod(one.width, 2)
            require(not odd, f"{first} is {one.width} pixels wide: two images side by side need an even width.")
            one, two = one.crop((0, 0, half, one.height)), two.crop((half, 0, 2 * half, two.height))
        if one.size != two.size:
            raise DataError(
                f"{first} is {one.width}x{one.height} pixels and its partner {second} {two.width}x{two.height}: bring "
                f"both to one size."
            )
        images = self.jitter([one, two])
        return images[::-1] if self.swap else images


class PairedImagesDataModule(TwoDomainDataModule):
    """Paired images, for Pix2Pix: two folders with equal names, or one folder of images side by side.

    Batches are ``(a, b)``. Subfolders ``train``, ``val`` (or ``valid``, ``validation``) and ``test``, in upper or lower
    case, are the splits; without them, a share of the pairs is held out. Names are equal when they agree up to the
    suffix, subfolders included. As published (arXiv:1611.07004), a training pair is resized to somewhat more than its
    size, cropped at random and mirrored at random, both images alike; proportions are not kept.

    Args:
        folder: The folder of domain A's images, or of images that hold A on the left and B on the right.
        target_folder: The folder of domain B's images; none for images side by side.
        dataset: One of the published sets instead of `folder`'s own images: "facades", "cityscapes", "maps",
            "night2day", "edges2shoes", "edges2handbags". It is downloaded to ``folder/dataset`` if it is not there.
        direction: "BtoA" exchanges the domains: the image on the right becomes the source.
        image_size: Side, or height and width, of the images (pixels).
        load_size: Side, or height and width, before the random crop; by default 286/256 of `image_size`, and
            `image_size` itself for no crop.
        channels: Channels of the source: 1 (grey), 3 (RGB) or 4 (RGBA).
        target_channels: Channels of the target; by default the same.
        horizontal_flip: Whether to mirror every second training pair, at random.
        skip_unreadable: Whether to replace a pair that cannot be read by the next one, with a warning and a count at
            the end, instead of stopping.
        val_fraction: Share of the pairs held out where the set comes without a split.
        batch_size: Pairs in a batch, in each process.
        num_workers: Processes that load data besides the main one.
        seed: Seed of the split and of the order of the training data.

    Raises:
        DataError: If an argument is out of range, a set cannot be downloaded, a folder is missing or empty, an image
            has no partner, or, while a batch is loaded, one cannot be read or has another size than its partner.

    Example:
        >>> datamodule = PairedImagesDataModule("edges", "photographs", image_size=64, channels=1, target_channels=3)
        >>> datamodule.image_shape, datamodule.target_shape
        ((1, 64, 64), (3, 64, 64))
    """

    sets = PAIRED_SETS

    def __init__(
        self,
        folder: str = "data",
        target_folder: str | None = None,
        *,
        dataset: str | None = None,
        direction: Literal["AtoB", "BtoA"] = "AtoB",
        image_size: Size = 256,
        load_size: Size | None = None,
        channels: int = 3,
        target_channels: int | None = None,
        horizontal_flip: bool = True,
        skip_unreadable: bool = False,
        val_fraction: float = 0.1,
        batch_size: int = 1,
        num_workers: int = 4,
        seed: int = 0,
    ) -> None:
        super().__init__(
            folder,
            dataset,
            as_shape(channels, image_size),
            as_shape(channels if target_channels is None else target_channels, image_size),
            horizontal_flip=horizontal_flip,
            skip_unreadable=skip_unreadable,
            val_fraction=val_fraction,
            batch_size=batch_size,
            num_workers=num_workers,
            seed=seed,
        )
        self._load_size = resolve_load_size(image_size, load_size)
        require(direction in ("AtoB", "BtoA"), f"direction={direction!r} must be 'AtoB' or 'BtoA'.")
        require(dataset is None or target_folder is None, "A published set has both domains: leave target_folder out.")
        self.target_folder = None if target_folder is None else os.path.expanduser(target_folder)
        self.direction = direction

    def load(self) -> tuple[PairedImages, PairedImages, PairedImages]:
        """List the pairs; where there is no split, hold some out at random as validation and test set."""
        pairs = self._pairs()
        names = list(pairs)
        splits, _ = find_splits(self.root, names)
        if any(splits):
            of: dict[Split | None, list[str]] = {"train": [], "val": [], "test": []}
            for name, split in zip(names, splits, strict=True):
                of[split].append(name)
            train, val, test = of["train"], of["val"] or of["test"], of["test"] or of["val"]
        else:
            rows, held_out = split_indices(len(names), self.val_fraction, torch.Generator().manual_seed(self.seed))
            train, val = ([names[row] for row in part.tolist()] for part in (rows, held_out))
            test = val

        def subset(names: list[str], jitter: Jitter) -> PairedImages:
            channels = (self.image_shape[0], self.target_shape[0])
            chosen = [pairs[name] for name in names]
            return PairedImages(chosen, channels, jitter, self.direction == "BtoA", self.skip_unreadable)

        fixed = Jitter(self.image_shape[1:])
        jitter = Jitter(self.image_shape[1:], self._load_size, self.horizontal_flip)
        return subset(train, jitter), subset(val, fixed), subset(test, fixed)

    def _pairs(self) -> dict[str, tuple[str, str]]:
        """Return both files of each pair by their common name."""
        files = _files(self.root)
        if self.target_folder is None:
            return {name: (path, path) for name, path in files.items()}
        partners = _files(self.target_folder)
        for source, target, folder in ((files, partners, self.target_folder), (partners, files, self.folder)):
            alone = [path for name, path in source.items() if name not in target]
            if alone:
                more = f" (nor have {len(alone) - 1} others)" if len(alone) > 1 else ""
                raise DataError(f"{alone[0]} has no partner of its name in {folder}{more}: add it, or remove the file.")
        return {name: (path, partners[name]) for name, path in files.items()}


def _files(folder: str) -> dict[str, str]:
    """Return the images below a folder by their name without suffix."""
    require(os.path.isdir(folder), f"There is no folder {folder}: pass the folder of the images.")
    files: dict[str, str] = {}
    for name in list_images(folder):
        stem = str(PurePosixPath(name).with_suffix(""))
        path = os.path.join(folder, name)
        require(stem not in files, f"{path} has the same name as {files.get(stem)} but for the suffix: rename one.")
        files[stem] = path
    require(bool(files), f"{folder} holds no image: put some there ({' '.join(SUFFIXES)}).")
    return files
