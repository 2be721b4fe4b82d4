"""Handwritten digits from scikit-learn: small, and always available."""

from __future__ import annotations

import torch

from .base import ImageDataModule, require
from .in_memory import InMemory, require_fraction, resize


class DigitsDataModule(ImageDataModule):
    """The 1,797 handwritten digits that come with scikit-learn, 8×8 in 17 greys; nothing is downloaded.

    E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998,
    doi:10.24432/C50P49.

    Args:
        image_size: Height and width of the images (pixels), resized bilinearly from 8.
        val_fraction: Share of the images kept for validation.
        batch_size: Images in a batch, in each process.
        num_workers: Processes that load data besides the main one.
        seed: Seed of the split and of the order of the training data.

    Raises:
        DataError: If an argument is out of range.

    Example:
        >>> DigitsDataModule().image_shape, DigitsDataModule().num_classes
        ((1, 16, 16), 10)
    """

    def __init__(
        self,
        *,
        image_size: int = 16,
        val_fraction: float = 0.2,
        batch_size: int = 64,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size=batch_size, num_workers=num_workers, seed=seed)
        require(image_size >= 1, f"image_size={image_size} must be at least 1.")
        require_fraction(val_fraction)
        self.image_size = image_size
        self.val_fraction = val_fraction

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """``(1, image_size, image_size)``."""
        return (1, self.image_size, self.image_size)

    @property
    def num_classes(self) -> int:
        """Ten digits."""
        return 10

    def load(self) -> tuple[InMemory, InMemory, InMemory]:
        """Split the digits at random; the validation set is the test set too."""
        from sklearn.datasets import load_digits  # here, because it takes a second to import

        digits = load_digits()
        greys = torch.from_numpy(digits.images)[:, None]  # 0 to 16
        images = resize((greys * (255 / 16)).round().to(torch.uint8), self.image_size)
        digits_and_labels = InMemory(images, torch.from_numpy(digits.target).long())
        train, val = digits_and_labels.split(self.val_fraction, torch.Generator().manual_seed(self.seed))
        return train, val, val
