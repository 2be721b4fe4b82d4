"""The base of all feature networks: frozen, named, with the protocol by which samples reach them."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from functools import cached_property
from typing import Self, cast

import torch
from torch import Tensor, nn

from gan_modules.errors import GANError
from gan_modules.families.data_spec import Kind
from gan_modules.functional.pixels import to_uint8


class FeatureNetwork(nn.Module, ABC):
    """A frozen network from samples to features, always in evaluation mode.

    Attributes:
        name: Names the scores, as in ``fd_digits``.
        kind: Kind of samples that the network takes.
        num_features: Length of a sample's features.
        resizer: How images reach the network's size; part of a score's protocol, since scores depend on it.
        sha256: Hash of the weights: of their file, where they have one.
    """

    name: str
    kind: Kind = "image"
    num_features: int
    resizer: str

    @property
    def is_builtin(self) -> bool:
        """Whether the network's code is this library's, so that the weights' hash alone identifies its features."""
        return type(self).__module__.startswith("gan_modules.")

    @abstractmethod
    def features(self, samples: Tensor) -> Tensor:
        """Return features ``(N, num_features)`` of float samples, differentiable in them.

        Args:
            samples: Images ``(N, C, H, W)`` or videos ``(N, C, T, H, W)`` in [0, 255]; audio ``(N, C, T)`` in [-1, 1];
                points ``(N, D)``.
        """

    def quantize(self, samples: Tensor) -> Tensor:
        """Return samples as files hold them: images and videos rounded to uint8, audio and points in float32."""
        return to_uint8(samples) if self.kind in ("image", "video") else samples.float()

    def forward(self, samples: Tensor) -> Tensor:
        """Return features ``(N, num_features)`` of samples, quantized first.

        Args:
            samples: Of the network's kind; images and videos are uint8, or float in [-1, 1].

        Raises:
            GANError: If the network gives anything but `num_features` finite numbers a sample.
        """
        with torch.autocast(samples.device.type, enabled=False):
            return self.checked_features(self.quantize(samples).float()).float()

    def checked_features(self, samples: Tensor) -> Tensor:
        """Return `features` as ``(N, num_features)``, whatever axes of length 1 the network has left or taken.

        Raises:
            GANError: If they are anything but `num_features` finite numbers a sample.
        """
        features = self.features(samples)
        said, wanted = f"The feature network '{self.name}' gives", (len(samples), self.num_features)
        if not isinstance(features, Tensor):
            raise GANError(
                f"{said} a {type(features).__name__}, not a tensor {wanted}: let it return the features alone."
            )
        found = tuple(features.shape)
        if _without_ones(found) != _without_ones(wanted):
            remedy = "average over what is behind the second axis" if len(found) > 2 else "correct its num_features"
            raise GANError(f"{said} features {found} for {wanted[0]} samples, not {wanted}: {remedy}.")
        if features.is_complex() or not features.isfinite().all():
            raise GANError(
                f"{said} features that are not finite real numbers: look at its weights, and at the samples."
            )
        return features.reshape(wanted)

    @cached_property
    def sha256(self) -> str:
        """Hash of the weights by name, dtype, shape and bytes."""
        digest = hashlib.sha256()
        for key, tensor in sorted(self.state_dict().items()):
            digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def freeze(self) -> None:
        """Stop gradients to the weights; to be called at the end of ``__init__``."""
        self.requires_grad_(False).train(False)

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode: the features of a sample must not depend on its batch."""
        return super().train(False)


class ClassifyingNetwork(FeatureNetwork, ABC):
    """A feature network that classifies by its features.

    Attributes:
        num_classes: Number of classes.
    """

    num_classes: int

    @abstractmethod
    def logits(self, features: Tensor) -> Tensor:
        """Return logits ``(N, num_classes)`` of features ``(N, num_features)``."""

    def classify(self, images: Tensor) -> Tensor:
        """Return logits ``(N, num_classes)`` of images ``(N, C, H, W)``: uint8, or float in [-1, 1], then rounded."""
        return self.logits(self(images))


class ModuleFeatures(FeatureNetwork):
    """Any module from samples to features ``(N, num_features)``, as a feature network.

    Args:
        module: Takes samples as files hold them: images ``(N, C, H, W)`` and videos ``(N, C, T, H, W)`` uint8, audio
            ``(N, C, T)`` and points ``(N, D)`` float. It has an attribute `num_features` and may have `kind`, by
            default "image", `name` and `resizer`. Features ``(N, num_features, 1, 1)`` will do as well.

    Raises:
        GANError: If the module has no `num_features`.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        if not isinstance(getattr(module, "num_features", None), int):
            raise GANError(f"The feature network {type(module).__name__} needs an attribute num_features, an int.")
        self.module = module
        self.kind = getattr(module, "kind", "image")
        self.name = str(getattr(module, "name", type(module).__name__.lower()))
        self.num_features = cast(int, module.num_features)
        self.resizer = str(getattr(module, "resizer", "its own"))
        self.freeze()

    @property
    def is_builtin(self) -> bool:
        """False, since nothing shows when the module's code has changed."""
        return False

    def features(self, samples: Tensor) -> Tensor:
        """Return the module's features of the samples; pixels become bytes first."""
        if self.kind in ("image", "video"):
            samples = samples.round().to(torch.uint8)
        try:
            features: Tensor = self.module(samples)
        except (RuntimeError, TypeError, ValueError) as error:
            if isinstance(error, GANError | torch.OutOfMemoryError):
                raise
            raise GANError(
                f"The feature network '{self.name}' does not take samples {tuple(samples.shape)} of {samples.dtype} "
                f"({str(error).partition(chr(10))[0]}): convert and resize them in its forward."
            ) from error
        return features


def _without_ones(shape: tuple[int, ...]) -> list[int]:
    return [length for length in shape if length != 1]


def as_rgb(pixels: Tensor, name: str) -> Tensor:
    """Return RGB images as they are, and grey ones repeated to three channels.

    Raises:
        GANError: If the images have neither one channel nor three.
    """
    if pixels.shape[1] not in (1, 3):
        raise GANError(
            f"The images have {pixels.shape[1]} channels, but the feature network '{name}' takes grey or RGB: "
            f"pass one of your own."
        )
    return pixels.expand(-1, 3, -1, -1)
