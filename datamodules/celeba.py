"""Photographs of celebrities' faces."""

from __future__ import annotations

import os

import torchvision.datasets

from .base import DataError, ImageDataModule, require
from .image_files import ImageFiles

PARTITIONS = ("0", "1", "2")  # training, validation, test


class CelebADataModule(ImageDataModule):
    """CelebA: 162,770 training, 19,867 validation and 19,962 test photographs of aligned faces.

    The usual protocol: the central 178×178 of 178×218 pixels, resized bilinearly; no labels. Each JPEG is read when
    a batch needs it, from the layout that torchvision uses. Z. Liu, P. Luo, X. Wang, X. Tang, Deep Learning Face
    Attributes in the Wild, 2015, arXiv:1411.7766.

    Args:
        root: Folder that holds ``celeba/img_align_celeba/*.jpg`` and ``celeba/list_eval_partition.txt``, or will.
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

    @property
    def _images(self) -> str:
        return os.path.join(self.root, "celeba", "img_align_celeba")

    @property
    def _partition(self) -> str:
        return os.path.join(self.root, "celeba", "list_eval_partition.txt")

    def _is_complete(self) -> bool:
        return os.path.isdir(self._images) and os.path.isfile(self._partition)

    def _missing(self, why: str) -> DataError:
        return DataError(
            f"CelebA is not complete ({' '.join(why.split())}): unzip img_align_celeba.zip to {self._images} and put "
            f"list_eval_partition.txt at {self._partition}, both from mmlab.ie.cuhk.edu.hk/projects/CelebA.html."
        )

    def prepare_data(self) -> None:
        """Download the files, in one process, unless they are there."""
        # torchvision insists on the checksums of six files, of which two are needed: ask it only for what is missing.
        if self.download and not self._is_complete():
            try:
                torchvision.datasets.CelebA(self.root, download=True)
            except Exception as error:  # gdown is missing, the Drive's quota is spent, there is no network, …
                raise self._missing(str(error)) from error

    def load(self) -> tuple[ImageFiles, ImageFiles, ImageFiles]:
        """List the official training, validation and test images."""
        if not self._is_complete():
            raise self._missing("nothing was found; download=True and prepare_data() would fetch it")
        paths: dict[str, list[str]] = {partition: [] for partition in PARTITIONS}
        present = set(os.listdir(self._images))
        with open(self._partition) as lines:
            for line in filter(str.strip, lines):
                name, _, partition = line.strip().partition(" ")
                if name not in present or partition.strip() not in PARTITIONS:
                    raise self._missing(f"no image for the line {line.strip()!r} of the list")
                paths[partition.strip()].append(os.path.join(self._images, name))
        train, val, test = (ImageFiles(paths[p], None, (self.image_size, self.image_size)) for p in PARTITIONS)
        return train, val, test
