"""The Inception of 2015, whose features FID, KID and the Inception score are published with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan_modules.errors import GANError
from gan_modules.metrics.features import ClassifyingNetwork, as_rgb
from gan_modules.metrics.weights import downloaded, file_sha256, read_weights

FILE = "weights-inception-2015-12-05-6726825d.pth"
URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{FILE}"
BATCH_NORM_EPSILON = 1e-3


class InceptionFeatures(ClassifyingNetwork):
    """The 2048 features of TensorFlow's Inception graph of 2015-12-05, as torch-fidelity has them.

    Images are rounded to uint8, grey is repeated to RGB, and TensorFlow 1's bilinear resize, which moves pixels a
    little and does not antialias, brings them to 299×299. Batch norms are folded into the convolutions, which with
    channels_last is faster by half.

    Args:
        weights: torch-fidelity's file ``weights-inception-2015-12-05-6726825d.pth``; by default it is downloaded
            once to torch.hub's folder.

    Raises:
        GANError: If the weights are missing or damaged.
    """

    name = "inception"
    num_features = 2048
    num_classes = 1008
    resizer = "TensorFlow 1 bilinear"

    def __init__(self, weights: str | Path | None = None) -> None:
        super().__init__()
        path = downloaded(URL, "InceptionFeatures") if weights is None else Path(weights)
        state = read_weights(path, f"{FILE} of torch-fidelity's releases")
        with torch.device("meta"):  # no random initialisation, which would move the global generator
            self.network = _Inception()
        try:
            self.network.load_state_dict(_folded(state), assign=True)
        except (KeyError, RuntimeError) as error:
            raise GANError(f"{path} holds other weights than {FILE}.") from error
        self.sha256 = file_sha256(path)
        self.to(memory_format=torch.channels_last)
        self.freeze()

    def features(self, pixels: Tensor) -> Tensor:
        """Average-pooled features ``(N, 2048)`` of pixels ``(N, C, H, W)`` in [0, 255]."""
        images = (tensorflow_resize(as_rgb(pixels, self.name), 299) - 128) / 128
        features: Tensor = self.network(images.contiguous(memory_format=torch.channels_last))
        return features

    def logits(self, features: Tensor) -> Tensor:
        """Logits ``(N, 1008)`` without the bias, as the graph's own score has them."""
        return features @ self.network.fc.weight.T


def tensorflow_resize(images: Tensor, size: int) -> Tensor:
    """Images ``(N, C, H, W)`` at ``(N, C, size, size)``, bilinear as in TensorFlow 1: output i lies at i · H / size."""
    for dim in (3, 2):  # along rows first, as TensorFlow does
        length = images.shape[dim]
        places = torch.arange(size, dtype=torch.float32, device=images.device) * (length / size)
        low = places.long()
        weight = (places - low).view(-1, *[1] * (3 - dim))
        start = images.index_select(dim, low)
        images = start + (images.index_select(dim, (low + 1).clamp(max=length - 1)) - start) * weight
    return images


def _folded(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights, with each batch norm folded into the convolution before it."""
    folded = {key: state[key] for key in ("fc.weight", "fc.bias")}
    layers = [key.removesuffix(".conv.weight") for key in state if key.endswith(".conv.weight")]
    for layer in layers:
        scale, shift, mean, variance = (
            state[f"{layer}.bn.{part}"].double() for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = scale / (variance + BATCH_NORM_EPSILON).sqrt()
        folded[f"{layer}.weight"] = (state[f"{layer}.conv.weight"].double() * scale.view(-1, 1, 1, 1)).float()
        folded[f"{layer}.bias"] = (shift - mean * scale).float()
    return folded


class _Conv(nn.Conv2d):
    """A convolution and ReLU."""

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(super().forward(x), inplace=True)


def _average(x: Tensor) -> Tensor:
    """TensorFlow's average pool: padding does not count."""
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


class _MixedA(nn.Module):
    """35×35: 1×1, 5×5, twice 3×3, pooled."""

    def __init__(self, channels: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = _Conv(channels, 64, 1)
        self.branch5x5_1 = _Conv(channels, 48, 1)
        self.branch5x5_2 = _Conv(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = _Conv(channels, 64, 1)
        self.branch3x3dbl_2 = _Conv(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = _Conv(96, 96, 3, padding=1)
        self.branch_pool = _Conv(channels, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        five = self.branch5x5_2(self.branch5x5_1(x))
        three = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), five, three, self.branch_pool(_average(x))], dim=1)


class _MixedB(nn.Module):
    """From 35×35 to 17×17."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch3x3 = _Conv(channels, 384, 3, stride=2)
        self.branch3x3dbl_1 = _Conv(channels, 64, 1)
        self.branch3x3dbl_2 = _Conv(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = _Conv(96, 96, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        three = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), three, F.max_pool2d(x, 3, stride=2)], dim=1)


class _MixedC(nn.Module):
    """17×17: 1×1, once and twice 7×7 in two strips, pooled."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.branch1x1 = _Conv(768, 192, 1)
        self.branch7x7_1 = _Conv(768, width, 1)
        self.branch7x7_2 = _Conv(width, width, (1, 7), padding=(0, 3))
        self.branch7x7_3 = _Conv(width, 192, (7, 1), padding=(3, 0))
        self.branch7x7dbl_1 = _Conv(768, width, 1)
        self.branch7x7dbl_2 = _Conv(width, width, (7, 1), padding=(3, 0))
        self.branch7x7dbl_3 = _Conv(width, width, (1, 7), padding=(0, 3))
        self.branch7x7dbl_4 = _Conv(width, width, (7, 1), padding=(3, 0))
        self.branch7x7dbl_5 = _Conv(width, 192, (1, 7), padding=(0, 3))
        self.branch_pool = _Conv(768, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        once = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        twice = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        twice = self.branch7x7dbl_5(self.branch7x7dbl_4(twice))
        return torch.cat([self.branch1x1(x), once, twice, self.branch_pool(_average(x))], dim=1)


class _MixedD(nn.Module):
    """From 17×17 to 8×8."""

    def __init__(self) -> None:
        super().__init__()
        self.branch3x3_1 = _Conv(768, 192, 1)
        self.branch3x3_2 = _Conv(192, 320, 3, stride=2)
        self.branch7x7x3_1 = _Conv(768, 192, 1)
        self.branch7x7x3_2 = _Conv(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3 = _Conv(192, 192, (7, 1), padding=(3, 0))
        self.branch7x7x3_4 = _Conv(192, 192, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        three = self.branch3x3_2(self.branch3x3_1(x))
        seven = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([three, seven, F.max_pool2d(x, 3, stride=2)], dim=1)


class _MixedE(nn.Module):
    """8×8: 1×1, once and twice 3×3 in two strips side by side, pooled."""

    def __init__(self, channels: int, max_pool: bool) -> None:
        super().__init__()
        self.max_pool = max_pool  # so it is in the graph's last block, though in no paper
        self.branch1x1 = _Conv(channels, 320, 1)
        self.branch3x3_1 = _Conv(channels, 384, 1)
        self.branch3x3_2a = _Conv(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3_2b = _Conv(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1 = _Conv(channels, 448, 1)
        self.branch3x3dbl_2 = _Conv(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = _Conv(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = _Conv(384, 384, (3, 1), padding=(1, 0))
        self.branch_pool = _Conv(channels, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        once = self.branch3x3_1(x)
        twice = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        strips = [self.branch3x3_2a(once), self.branch3x3_2b(once)]
        strips += [self.branch3x3dbl_3a(twice), self.branch3x3dbl_3b(twice)]
        pooled = F.max_pool2d(x, 3, stride=1, padding=1) if self.max_pool else _average(x)
        return torch.cat([self.branch1x1(x), *strips, self.branch_pool(pooled)], dim=1)


class _Inception(nn.Sequential):
    """From images ``(N, 3, 299, 299)`` in [-1, 1) to features ``(N, 2048)``; names are the file's."""

    fc: nn.Linear

    def __init__(self) -> None:
        super().__init__()
        layers = {
            "Conv2d_1a_3x3": _Conv(3, 32, 3, stride=2),
            "Conv2d_2a_3x3": _Conv(32, 32, 3),
            "Conv2d_2b_3x3": _Conv(32, 64, 3, padding=1),
            "MaxPool_1": nn.MaxPool2d(3, stride=2),
            "Conv2d_3b_1x1": _Conv(64, 80, 1),
            "Conv2d_4a_3x3": _Conv(80, 192, 3),
            "MaxPool_2": nn.MaxPool2d(3, stride=2),
            "Mixed_5b": _MixedA(192, 32),
            "Mixed_5c": _MixedA(256, 64),
            "Mixed_5d": _MixedA(288, 64),
            "Mixed_6a": _MixedB(288),
            "Mixed_6b": _MixedC(128),
            "Mixed_6c": _MixedC(160),
            "Mixed_6d": _MixedC(160),
            "Mixed_6e": _MixedC(192),
            "Mixed_7a": _MixedD(),
            "Mixed_7b": _MixedE(1280, max_pool=False),
            "Mixed_7c": _MixedE(2048, max_pool=True),
            "fc": nn.Linear(2048, 1008),
        }
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        for name, layer in self.named_children():
            if name != "fc":
                x = layer(x)
        return x.mean(dim=(2, 3))
