"""Learned perceptual distance as features: LPIPS is a squared distance between them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
import torchmetrics.functional.image.lpips
from torch import Tensor, nn
from torch.nn import functional as F

from gan_modules.errors import GANError
from gan_modules.metrics.features import FeatureNetwork, as_rgb
from gan_modules.metrics.weights import downloaded, read_weights

FILE = "vgg16-397923af.pth"
URL = f"https://download.pytorch.org/models/{FILE}"
STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))  # widths of VGG16's convolutions
MEAN, STD = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of ImageNet's images in [-1, 1]
EPSILON = 1e-8  # where a pixel's features are all zero


class LPIPSFeatures(FeatureNetwork):
    """VGG16's features such that LPIPS (arXiv:1801.03924, eq. 1) is the squared distance of two images' features.

    Each pixel of five layers is normalised over its channels, and weighted as the paper's linear layers do.

    Args:
        weights: torchvision's file ``vgg16-397923af.pth``; by default it is downloaded once to torch.hub's folder.
            The paper's linear layers come with torchmetrics.
        image_size: Height and width to which images are brought: by averaging where both are larger, else bilinear.

    Raises:
        GANError: If the weights are missing or damaged, or `image_size` is too small for the layers.
    """

    name = "lpips"

    def __init__(self, weights: str | Path | None = None, image_size: int = 64) -> None:
        if image_size < 16:
            raise GANError(f"image_size={image_size} is too small for VGG16: take 16 or more.")
        super().__init__()
        path = downloaded(URL, "LPIPSFeatures") if weights is None else Path(weights)
        state = read_weights(path, f"torchvision's {FILE}")
        linear = torch.load(_linear_file(), map_location="cpu", weights_only=True)
        self.image_size = image_size
        self.resizer = f"area or bilinear to {image_size}"
        self.num_features = sum(widths[-1] * (image_size // 2**i) ** 2 for i, widths in enumerate(STAGES))
        stages: list[list[nn.Conv2d]] = []
        place, channels = 0, 3  # in torchvision's list of layers, which counts ReLUs and pools
        try:
            for i, widths in enumerate(STAGES):
                convolutions = []
                for width in widths:
                    convolutions.append(_convolution(state, f"features.{place}", channels, width))
                    place, channels = place + 2, width
                stages.append(convolutions)
                self.register_buffer(f"scale{i}", linear[f"lin{i}.model.1.weight"].sqrt())
                place += 1
        except (KeyError, RuntimeError) as error:
            raise GANError(f"{path} holds other weights than torchvision's {FILE}.") from error
        self.stages = nn.ModuleList(nn.Sequential(*convolutions) for convolutions in stages)
        self.to(memory_format=torch.channels_last)
        self.freeze()

    def features(self, pixels: Tensor) -> Tensor:
        """Weighted, normalised features ``(N, num_features)`` of pixels ``(N, C, H, W)`` in [0, 255]."""
        images = as_rgb(pixels, self.name) / 127.5 - 1
        mean, std = (images.new_tensor(values).view(3, 1, 1) for values in (MEAN, STD))
        x = (images - mean) / std
        size = (self.image_size, self.image_size)
        if min(x.shape[-2:]) > self.image_size:
            x = F.interpolate(x, size, mode="area")
        elif x.shape[-2:] != size:
            x = F.interpolate(x, size, mode="bilinear", align_corners=False)
        x = x.contiguous(memory_format=torch.channels_last)
        found = []
        for i, stage in enumerate(self.stages):
            if i:
                x = F.max_pool2d(x, 2)
            for convolution in cast(nn.Sequential, stage):
                x = F.relu(convolution(x))
            unit = x / (EPSILON + x.square().sum(dim=1, keepdim=True)).sqrt()
            found.append((unit * getattr(self, f"scale{i}") / x[0, 0].numel() ** 0.5).flatten(1))
        return torch.cat(found, dim=1)


def _convolution(state: Mapping[str, Tensor], key: str, channels: int, width: int) -> nn.Conv2d:
    with torch.device("meta"):  # no random initialisation, which would move the global generator
        convolution = nn.Conv2d(channels, width, 3, padding=1)
    convolution.load_state_dict({part: state[f"{key}.{part}"] for part in ("weight", "bias")}, assign=True)
    return convolution


def _linear_file() -> Path:
    """The paper's linear layers on VGG16, in torchmetrics' installation."""
    return Path(inspect.getfile(torchmetrics.functional.image.lpips)).parent / "lpips_models" / "vgg.pth"
