"""Augmentation as a stage before a discriminator."""

import torch
from torch import Tensor, nn

from gan_modules.functional.augment import augment_bgc


class AugmentPipe(nn.Module):
    """Augments images (N, C, H, W) in [-1, 1] by the pipeline "bgc" of ADA (2006.06676), of `augment_bgc`.

    The buffer ``p``, a scalar, is the probability of each transformation. It starts at 0 and is for others to move.
    """

    p: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("p", torch.zeros(()))

    def forward(self, images: Tensor) -> Tensor:
        """Transform images (N, C, H, W), each in its own way."""
        return augment_bgc(images, self.p)
