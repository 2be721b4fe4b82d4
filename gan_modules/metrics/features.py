"""What every feature network shares: it is frozen, named, and says how images reach it."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from functools import cached_property
from typing import Self, cast

import torch
from torch import Tensor, nn

from gan_modules.errors import GANError
from gan_modules.functional.pixels import to_uint8


class FeatureNetwork(nn.Module, ABC):
    """A frozen network from images to features, in evaluation mode for ever.

    Attributes:
        name: Names the scores, as in ``fd_digits``.
        num_features: Length of an image's features.
        resizer: How images reach the network's size; part of a score's protocol, since scores differ by it.
        sha256: Hash of the weights: of their file, where they have one.
    """

    name: str
    num_features: int
    resizer: str

    @abstractmethod
    def features(self, pixels: Tensor) -> Tensor:
        """Features ``(N, num_features)`` of float pixels ``(N, C, H, W)`` in [0, 255], differentiable in them."""

    def forward(self, images: Tensor) -> Tensor:
        """Features ``(N, num_features)`` of images ``(N, C, H, W)``: uint8, or float in [-1, 1], rounded to uint8."""
        with torch.autocast(images.device.type, enabled=False):
            return self.features(to_uint8(images).float()).float()

    @cached_property
    def sha256(self) -> str:
        """Hash of the weights, by name, kind, shape and bytes."""
        digest = hashlib.sha256()
        for key, tensor in sorted(self.state_dict().items()):
            digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def freeze(self) -> None:
        """Call it at the end of ``__init__``: no gradients reach the weights."""
        self.requires_grad_(False).train(False)

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode: features of an image must not depend on its batch."""
        return super().train(False)


class ClassifyingNetwork(FeatureNetwork, ABC):
    """A feature network whose features lead on to classes.

    Attributes:
        num_classes: Classes it tells apart.
    """

    num_classes: int

    @abstractmethod
    def logits(self, features: Tensor) -> Tensor:
        """Logits ``(N, num_classes)`` of features ``(N, num_features)``: both in one pass over the images."""

    def classify(self, images: Tensor) -> Tensor:
        """Logits ``(N, num_classes)`` of images ``(N, C, H, W)``: uint8, or float in [-1, 1], rounded to uint8."""
        return self.logits(self(images))


class ModuleFeatures(FeatureNetwork):
    """Any module from uint8 images ``(N, C, H, W)`` to features ``(N, num_features)``, as a feature network.

    Args:
        module: The module, with attributes `num_features` and, at will, `name` and `resizer`.

    Raises:
        GANError: If it does not say its number of features.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        if not isinstance(getattr(module, "num_features", None), int):
            raise GANError(f"The feature network {type(module).__name__} must say its num_features, an int.")
        self.module = module
        self.name = str(getattr(module, "name", type(module).__name__.lower()))
        self.num_features = cast(int, module.num_features)
        self.resizer = str(getattr(module, "resizer", "its own"))
        self.freeze()

    def features(self, pixels: Tensor) -> Tensor:
        """What the module makes of the pixels, rounded to bytes."""
        features: Tensor = self.module(pixels.round().to(torch.uint8))
        return features


def as_rgb(pixels: Tensor, name: str) -> Tensor:
    """Grey images repeated to three channels, RGB as it is.

    Raises:
        GANError: If they have neither one channel nor three.
    """
    if pixels.shape[1] not in (1, 3):
        raise GANError(
            f"The images have {pixels.shape[1]} channels, but the feature network '{name}' sees grey or RGB: give "
            f"one of your own."
        )
    return pixels.expand(-1, 3, -1, -1)
