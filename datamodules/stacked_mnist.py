"""Three grey images as the three colours of one: a thousand modes to count."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Generator, Tensor

from .base import Batch, BatchedDataset, ImageDataModule, require
from .digits import DigitsDataModule
from .fashion_mnist import FashionMNISTDataModule
from .in_memory import InMemory
from .mnist import MNISTDataModule

SOURCES = ("mnist", "fashion_mnist", "digits")


class StackedGreys(BatchedDataset):
    """RGB images whose three channels are three grey images.

    Args:
        greys: Images ``(M, 1, H, W)``.
        classes: Their classes ``(M,)``, 0 to 9.
        triples: Which three greys each image consists of, ``(N, 3)``.
    """

    def __init__(self, greys: Tensor, classes: Tensor, triples: Tensor) -> None:
        self.greys = greys
        self.classes = classes
        self.triples = triples

    def __len__(self) -> int:
        return len(self.triples)

    def __getitems__(self, indices: list[int]) -> Batch:
        triples = self.triples[torch.tensor(indices)]
        return self.greys[triples, 0], self.classes[triples] @ torch.tensor([100, 10, 1])


class StackedMNISTDataModule(ImageDataModule):
    """Stacked MNIST: three random digits as red, green and blue, which makes 10³ modes.

    The benchmark of mode collapse of arXiv:1611.02163, with the 128,000 training images of arXiv:1712.04086. The label
    of digits a, b, c is its mode, 100a + 10b + c. Training and validation images share no grey image; the validation
    set is the test set too. Any set of ten grey classes can replace MNIST.

    Args:
        source: Where the grey images come from: "mnist", "fashion_mnist", or "digits", which need no download.
        root: Folder that holds the source's own folder, or will hold it; the digits need no folder.
        image_size: Height and width of the images (pixels), resized bilinearly where the source's own differ.
        num_samples: Number of training images.
        num_val_samples: Number of validation images.
        download: Whether to download missing files.
        batch_size: Images in a batch, in each process.
        num_workers: Processes that load data besides the main one.
        seed: Seed of the triples, of the digits' split, and of the order of the training data.

    Raises:
        DataError: If an argument is out of range, or the source cannot be read.

    Example:
        >>> StackedMNISTDataModule("digits").image_shape, StackedMNISTDataModule("digits").num_classes
        ((3, 32, 32), 1000)
    """

    def __init__(
        self,
        source: Literal["mnist", "fashion_mnist", "digits"] = "mnist",
        root: str = "data",
        *,
        image_size: int = 32,
        num_samples: int = 128_000,
        num_val_samples: int = 10_000,
        download: bool = True,
        batch_size: int = 64,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size=batch_size, num_workers=num_workers, seed=seed)
        require(source in SOURCES, f"source={source!r} is unknown: choose one of {', '.join(SOURCES)}.")
        require(image_size >= 1, f"image_size={image_size} must be at least 1.")
        require(num_samples >= 1, f"num_samples={num_samples} must be at least 1.")
        require(num_val_samples >= 1, f"num_val_samples={num_val_samples} must be at least 1.")
        self.source = source
        self.root = root
        self.image_size = image_size
        self.num_samples = num_samples
        self.num_val_samples = num_val_samples
        self.download = download

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """``(3, image_size, image_size)``."""
        return (3, self.image_size, self.image_size)

    @property
    def num_classes(self) -> int:
        """A thousand modes."""
        return 1000

    def prepare_data(self) -> None:
        """Download missing files, in one process."""
        self._greys().prepare_data()

    def load(self) -> tuple[StackedGreys, StackedGreys, StackedGreys]:
        """Draw the triples, those of training from the source's training images and the others from its test images."""
        generator = Generator().manual_seed(self.seed)
        greys, val_greys, _ = self._greys().load()
        train = _stacked(greys, self.num_samples, generator)
        val = _stacked(val_greys, self.num_val_samples, generator)
        return train, val, val

    def _greys(self) -> DigitsDataModule | MNISTDataModule | FashionMNISTDataModule:
        if self.source == "digits":
            return DigitsDataModule(image_size=self.image_size, seed=self.seed)
        source = MNISTDataModule if self.source == "mnist" else FashionMNISTDataModule
        return source(self.root, image_size=self.image_size, download=self.download)


def _stacked(greys: InMemory, size: int, generator: Generator) -> StackedGreys:
    images, classes = greys.tensors
    return StackedGreys(images, classes, torch.randint(len(greys), (size, 3), generator=generator))
