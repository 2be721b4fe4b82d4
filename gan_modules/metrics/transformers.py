"""Features of vision transformers that were trained without ImageNet's classes: CLIP and DINOv2."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan_modules.errors import GANError
from gan_modules.metrics.features import FeatureNetwork, as_rgb
from gan_modules.metrics.weights import downloaded, file_sha256, read_weights

HEAD_WIDTH = 64  # of every attention head, in all sizes of both families


class TransformerFeatures(FeatureNetwork, ABC):
    """timm's vision transformer, with the sizes of its file of weights.

    Images are rounded to uint8, grey is repeated to RGB, and a bicubic, antialiased resize such as Pillow's brings
    them to the network's square.

    Args:
        weights: File of the weights, of any size of the family; by default the published one is downloaded once to
            torch.hub's folder.

    Raises:
        GANError: If timm is not installed, or the weights are missing or damaged.
    """

    resizer = "bicubic, antialiased"
    url: ClassVar[str]
    file: ClassVar[str]
    mean: ClassVar[tuple[float, float, float]]
    std: ClassVar[tuple[float, float, float]]
    activation: ClassVar[str]
    epsilon: ClassVar[float]  # of the layer norms

    def __init__(self, weights: str | Path | None = None) -> None:
        super().__init__()
        owner = type(self).__name__
        try:
            import timm.models.vision_transformer  # noqa: F401
        except ImportError as error:
            raise GANError(f"{owner} needs timm: run pip install 'gan-modules[features]'.") from error
        path = downloaded(self.url, owner, self.file) if weights is None else Path(weights)
        state = read_weights(path, f"{self.file} of {self.url}")
        try:
            state = self.convert(state)
            self.image_size = state["patch_embed.proj.weight"].shape[-1] * _grid(state)
            self.network = _vision_transformer(state, self.image_size, self.activation, self.epsilon)
        except (KeyError, IndexError, RuntimeError, ValueError) as error:
            raise GANError(f"{path} holds other weights than {owner}'s: it should be {self.file}.") from error
        self.num_features = len(state["head.weight"]) if "head.weight" in state else state["cls_token"].shape[-1]
        self.sha256 = file_sha256(path)
        self.freeze()

    def convert(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return a file's tensors as timm's network takes them."""
        return state

    def features(self, pixels: Tensor) -> Tensor:
        """Return features of the class token ``(N, num_features)`` of pixels ``(N, C, H, W)`` in [0, 255]."""
        side = self.image_size
        images = as_rgb(pixels, self.name)
        for shape in ((images.shape[-2], side), (side, side)):  # along rows first, and clamped between, as Pillow does
            if images.shape[-2:] != shape:
                images = F.interpolate(images, shape, mode="bicubic", align_corners=False, antialias=True).clamp(0, 255)
        mean, std = (images.new_tensor(values).view(3, 1, 1) for values in (self.mean, self.std))
        features: Tensor = self.network((images / 255 - mean) / std)
        return features


class CLIPFeatures(TransformerFeatures):
    """CLIP's image embedding (arXiv:2103.00020), whose Frechet distance is CLIP-FID (arXiv:2203.06026).

    Args:
        weights: timm's safetensors file of OpenAI's weights; by default ``vit_base_patch32_clip_224.openai``,
            downloaded once to torch.hub's folder.

    Raises:
        GANError: If timm is not installed, or the weights are missing or damaged.
    """

    name = "clip"
    url = "https://huggingface.co/timm/vit_base_patch32_clip_224.openai/resolve/main/model.safetensors"
    file = "vit_base_patch32_clip_224.openai.safetensors"
    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    activation, epsilon = "quick_gelu", 1e-5


class DINOv2Features(TransformerFeatures):
    """DINOv2's class token (arXiv:2304.07193), whose Frechet distance is FD-DINOv2 (arXiv:2306.04675).

    Args:
        weights: The authors' file of a model without registers; by default ``dinov2_vitl14_pretrain.pth``, downloaded
            once to torch.hub's folder.

    Raises:
        GANError: If timm is not installed, or the weights are missing or damaged.
    """

    name = "dinov2"
    url = "https://dl.fbaipublicfiles.com/dinov2/dinov2_vitl14/dinov2_vitl14_pretrain.pth"
    file = "dinov2_vitl14_pretrain.pth"
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    activation, epsilon = "gelu", 1e-6
    grid = 16  # patches a side, of 14 pixels: images of 224

    def convert(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors with positions for 16×16 patches, interpolated from a larger grid as the authors do."""
        state = {key: tensor for key, tensor in state.items() if key != "mask_token"}  # for its training alone
        token, positions = state["pos_embed"][:, :1], state["pos_embed"][:, 1:]
        if (side := _grid(state)) != self.grid:
            square = positions.mT.reshape(1, -1, side, side)
            factor = (self.grid + 0.1) / side  # their offset, against a rounding; timm's own resampling has none
            square = F.interpolate(square, scale_factor=(factor, factor), mode="bicubic")
            state["pos_embed"] = torch.cat([token, square.flatten(2).mT], dim=1)
        return state


def _vision_transformer(state: Mapping[str, Tensor], image_size: int, activation: str, epsilon: float) -> nn.Module:
    """Return timm's transformer whose tensors these are, whatever its sizes.

    Raises:
        KeyError: If tensors are missing.
        RuntimeError: If they do not fit each other.
    """
    from timm.models.vision_transformer import VisionTransformer

    kernel = state["patch_embed.proj.weight"]
    with torch.device("meta"):  # no random initialisation, which would move the global generator
        network = VisionTransformer(
            img_size=image_size,
            patch_size=kernel.shape[-1],
            embed_dim=len(kernel),
            depth=len({key.split(".")[1] for key in state if key.startswith("blocks.")}),
            num_heads=len(kernel) // HEAD_WIDTH,
            num_classes=len(state.get("head.weight", ())),
            init_values=1.0 if "blocks.0.ls1.gamma" in state else None,
            pre_norm="norm_pre.weight" in state,
            weight_init="skip",
            norm_layer=partial(nn.LayerNorm, eps=epsilon),
            act_layer=activation,
        )
    network.load_state_dict(state, assign=True)
    return network


def _grid(state: Mapping[str, Tensor]) -> int:
    """Return the number of patches a side."""
    grid: int = round((state["pos_embed"].shape[1] - 1) ** 0.5)
    return grid
