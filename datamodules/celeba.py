"""Photographs of celebrities' faces."""

from __future__ import annotations

import codecs
import os
import re

import torchvision.datasets

from .base import DataError, ImageDataModule, require
from .image_files import ImageFiles

PARTITIONS = ("0", "1", "2")  # training, validation, test
IMAGES = "img_align_celeba"  # with what the name of the images' folder begins; the original ones are img_celeba
LISTS = ("list_eval_partition.txt", "list_eval_partition.csv")
DEPTH = 3  # folders below the root that are searched


class CelebADataModule(ImageDataModule):
    """CelebA: 162,770 training, 19,867 validation and 19,962 test photographs of aligned faces.

    The usual protocol: the central 178×178 of 178×218 pixels, resized bilinearly; no labels. Each image is read when a
    batch needs it. Files are found below the root as the official archives, torchvision and Kaggle lay them: JPEG
    or PNG, in a folder within a folder, with the list as text or CSV. Z. Liu, P. Luo, X. Wang, X. Tang, Deep Learning
    Face Attributes in the Wild, 2015, arXiv:1411.7766.

    Args:
        root: Folder that holds the images in ``img_align_celeba`` and ``list_eval_partition.txt``, in ``celeba`` or
            elsewhere below it; or will hold them.
        image_size: Height and width of the images (pixels).
        download: Whether to download missing files from Google Drive, which needs the package gdown.
        batch_size: Images in a batch, in each process.
        num_workers: Processes that load data besides the main one.
        seed: Seed of the order of the training data.

    Raises:
        DataError: If an argument is out of range, or files are missing and cannot be downloaded.
    """

    def __init__(
        self,
        root: str = "data",
        *,
        image_size: int = 64,
        download: bool = True,
        batch_size: int = 128,
        num_workers: int = 4,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size=batch_size, num_workers=num_workers, seed=seed)
        require(image_size >= 1, f"image_size={image_size} must be at least 1.")
        self.root = os.path.expanduser(root)
        self.image_size = image_size
        self.download = download

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """``(3, image_size, image_size)``."""
        return (3, self.image_size, self.image_size)

    def prepare_data(self) -> None:
        """Download the files, in one process, unless they are there."""
        # torchvision insists on the checksums of six files, of which two are needed: ask it only for what is missing.
        if self.download and None in self._find():
            try:
                torchvision.datasets.CelebA(self.root, download=True)
            except Exception as error:  # gdown is missing, the Drive's quota is spent, there is no network, …
                raise self._missing(str(error)) from error

    def load(self) -> tuple[ImageFiles, ImageFiles, ImageFiles]:
        """List the official training, validation and test images."""
        images, partition = self._find()
        if images is None or partition is None:
            lacking = f"folder {IMAGES} with images" if images is None else LISTS[0]
            raise self._missing(f"there is no {lacking} below {self.root}")
        present = {os.path.splitext(name)[0]: name for name in sorted(os.listdir(images))}
        paths: dict[str, list[str]] = {part: [] for part in PARTITIONS}
        for name, part in _read_partition(partition):
            stem = os.path.splitext(name)[0]
            if stem not in present:
                raise self._missing(f"{images} holds no {name}, which {partition} lists")
            paths[part].append(os.path.join(images, present[stem]))
        train, val, test = (ImageFiles(paths[p], None, (self.image_size, self.image_size)) for p in PARTITIONS)
        return train, val, test

    def _find(self) -> tuple[str | None, str | None]:
        """Return the folder of the images and the file of the partition, wherever archives have put them."""
        usual = os.path.join(self.root, "celeba")
        images: list[str] = []
        lists: list[str] = []
        for top in (usual, self.root):
            for folder, folders, files in os.walk(top, followlinks=True):
                depth = os.path.relpath(folder, top).count(os.sep) + (folder != top)
                folders[:] = sorted(folders) if depth < DEPTH else []
                named = any(part.lower().startswith(IMAGES) for part in folder.split(os.sep)[-2:])
                if named and any(name.lower().endswith((".jpg", ".jpeg", ".png")) for name in files):
                    images.append(folder)
                lists += [os.path.join(folder, name) for name in sorted(files) if name.lower() in LISTS]
            if images and lists:
                break
        return next(iter(images), None), next(iter(lists), None)

    def _missing(self, why: str) -> DataError:
        place = os.path.join(self.root, "celeba")
        return DataError(
            f"CelebA is not complete ({' '.join(why.split())}): unzip img_align_celeba.zip, which holds the folder "
            f"img_align_celeba, in {place}, and put list_eval_partition.txt there too, both from "
            f"mmlab.ie.cuhk.edu.hk/projects/CelebA.html."
        )


def _read_partition(path: str) -> list[tuple[str, str]]:
    """Return each image's name and its part, of a list in any of the forms that are about.

    Columns are parted by blanks, tabs, commas or semicolons; lines before the first image may name them or count.

    Raises:
        DataError: If a line is something else.
    """
    with open(path, "rb") as file:
        held = file.read()
    encoding = "utf-16" if held.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    entries = []
    for number, line in enumerate(held.decode(encoding, "replace").splitlines(), 1):
        fields = [field.strip("\"'") for field in re.split(r"[\s,;]+", line.strip()) if field]
        if len(fields) == 2 and fields[1] in PARTITIONS:
            entries.append((fields[0], fields[1]))
        elif fields and (entries or not re.fullmatch(r"\s*\d+\s*|\D+", line)):
            raise DataError(
                f"Line {number} of {path} is {line.strip()!r}, not an image's name and 0, 1 or 2: get the list again."
            )
    if not entries:
        raise DataError(f"{path} lists no image with its part 0, 1 or 2: get the list again.")
    return entries
