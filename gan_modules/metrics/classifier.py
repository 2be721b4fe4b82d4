"""Features of images from small classifiers, for scores in seconds and without a download."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.transforms.functional import rgb_to_grayscale

from gan_modules.errors import GANError
from gan_modules.metrics.features import ClassifyingNetwork
from gan_modules.metrics.weights import file_sha256


class Classifier(nn.Module):
    """A small convnet: a 3×3 convolution, batch norm, ReLU and pooling per width, then features, then logits.

    Args:
        channels: Channels of the images.
        image_size: Height and width of the images.
        num_classes: Classes to tell apart.
        widths: Channels of each convolution; every one halves height and width.
        num_features: Length of the penultimate layer.
    """

    def __init__(
        self,
        channels: int,
        image_size: int,
        num_classes: int,
        widths: Sequence[int] = (32, 64, 64),
        num_features: int = 64,
    ) -> None:
        super().__init__()
        sizes = pairwise((channels, *widths))
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(), nn.MaxPool2d(2))
                for i, o in sizes
            )
        )
        self.project = nn.Linear(widths[-1] * (image_size // 2 ** len(widths)) ** 2, num_features)
        self.classify = nn.Linear(num_features, num_classes)

    def features(self, images: Tensor) -> Tensor:
        """The penultimate layer, ``(N, num_features)``, of images ``(N, C, H, W)`` in [-1, 1]."""
        return F.relu(self.project(self.blocks(images).flatten(1)))

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(N, num_classes)`` of images ``(N, C, H, W)`` in [-1, 1]."""
        logits: Tensor = self.classify(self.features(images))
        return logits

    def save(self, path: str | Path, name: str, image_size: int) -> None:
        """Write the weights to a safetensors file that `ClassifierFeatures` reads."""
        about = json.dumps({"name": name, "image_size": image_size})  # one entry: safetensors shuffles several
        tensors = {key: tensor.contiguous() for key, tensor in self.state_dict().items()}
        save_file(tensors, path, metadata={"classifier": about})


class ClassifierFeatures(ClassifyingNetwork):
    """The penultimate layer of a trained `Classifier` as a feature network.

    Images may be of any size and have one or three channels: they become greyscale or RGB, whichever the
    classifier was trained on, and are resized to its size (bilinear; antialiased when shrunk, since no published
    score is at stake and aliasing would hide what generators do to fine detail).

    Args:
        weights: Safetensors file that ``examples/train_classifier.py`` wrote; every size is read from it.
        name: Names the score, as in ``fd_digits``; by default the name in the file.

    Raises:
        GANError: If the file is missing, damaged or of something else.
    """

    resizer = "bilinear, antialiased"

    def __init__(self, weights: str | Path, name: str | None = None) -> None:
        super().__init__()
        state, metadata = _read(Path(weights))
        try:
            about = json.loads(metadata["classifier"])
            self.image_size: int = about["image_size"]
            self.name = name or about["name"]
            kernels = [state[key] for key in sorted(state) if state[key].ndim == 4]
            self.num_classes, self.num_features = state["classify.weight"].shape
            with torch.device("meta"):  # no random initialisation, which would move the global generator
                self.network = Classifier(
                    channels=kernels[0].shape[1],
                    image_size=self.image_size,
                    num_classes=self.num_classes,
                    widths=[len(kernel) for kernel in kernels],
                    num_features=self.num_features,
                )
            self.network.load_state_dict(state, assign=True)
        except (KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
            raise GANError(
                f"{weights} holds no classifier that ClassifierFeatures knows: write one with "
                f"examples/train_classifier.py."
            ) from error
        self.channels = kernels[0].shape[1]
        self.sha256 = file_sha256(Path(weights))
        self.freeze()

    def features(self, pixels: Tensor) -> Tensor:
        """The penultimate layer, ``(N, num_features)``, of pixels ``(N, C, H, W)`` in [0, 255]."""
        return self.network.features(self._fit(pixels / 127.5 - 1))

    def logits(self, features: Tensor) -> Tensor:
        """The last layer of all."""
        logits: Tensor = self.network.classify(features)
        return logits

    def _fit(self, images: Tensor) -> Tensor:
        """The images as the classifier was trained on them."""
        channels = images.shape[1]
        if channels == 3 and self.channels == 1:
            images = rgb_to_grayscale(images)
        elif channels == 1 and self.channels == 3:
            images = images.expand(-1, 3, -1, -1)
        elif channels != self.channels:
            raise GANError(
                f"The images have {channels} channels, but the feature network '{self.name}' sees {self.channels}: "
                f"convert them to grey or RGB."
            )
        size = (self.image_size, self.image_size)
        if images.shape[-2:] != size:
            images = F.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True)
        return images


class DigitFeatures(ClassifierFeatures):
    """The bundled 64 features of handwritten digits, 1×16×16, whose score is ``fd_digits``.

    Trained on scikit-learn's digits by ``examples/train_classifier.py``.

    >>> DigitFeatures()(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 64])
    """

    def __init__(self) -> None:
        super().__init__(Path(__file__).with_name("digits.safetensors"))


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file."""
    if not path.is_file():
        raise GANError(f"There are no feature weights at {path}: write some with examples/train_classifier.py.")
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except SafetensorError as error:
        raise GANError(f"{path} is no whole safetensors file ({error}): copy or train it again.") from error
