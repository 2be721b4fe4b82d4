"""Features of vision transformers that were trained without ImageNet's classes: CLIP and DINOv2."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
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
    """A vision transformer whose sizes are those of its file of weights.

    Images are rounded to uint8, grey is repeated to RGB, and a bicubic, antialiased resize such as Pillow's brings
    them to the network's square.

    Args:
        weights: File of the weights, of any size of the family; by default the published one is downloaded once to
            torch.hub's folder.

    Raises:
        GANError: If the weights cannot be had.
    """

    resizer = "bicubic, antialiased"
    url: ClassVar[str]
    file: ClassVar[str]
    mean: ClassVar[tuple[float, float, float]]
    std: ClassVar[tuple[float, float, float]]

    def __init__(self, weights: str | Path | None = None) -> None:
        super().__init__()
        owner = type(self).__name__
        path = downloaded(self.url, owner, self.file) if weights is None else Path(weights)
        state = read_weights(path, f"{self.file} of {self.url}")
        try:
            self.network = self.build(state)
        except (KeyError, IndexError, RuntimeError, ValueError) as error:
            raise GANError(f"{path} holds other weights than {owner} knows: it should be {self.file}.") from error
        self.num_features = self.network.num_features
        self.sha256 = file_sha256(path)
        self.freeze()

    @abstractmethod
    def build(self, state: dict[str, Tensor]) -> VisionTransformer:
        """The network that a file's tensors fill."""

    def features(self, pixels: Tensor) -> Tensor:
        """Features of the class token ``(N, num_features)`` of pixels ``(N, C, H, W)`` in [0, 255]."""
        side = self.network.image_size
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
        weights: Safetensors file of an OpenAI CLIP as timm publishes it; by default ViT-B/32's, downloaded once to
            torch.hub's folder.

    Raises:
        GANError: If the weights cannot be had.
    """

    name = "clip"
    url = "https://huggingface.co/timm/vit_base_patch32_clip_224.openai/resolve/main/model.safetensors"
    file = "vit_base_patch32_clip_224.openai.safetensors"
    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)

    def build(self, state: dict[str, Tensor]) -> VisionTransformer:
        """CLIP's: normed before the first block, QuickGELU, a projection at the end."""
        return VisionTransformer.of(state, _quick_gelu, epsilon=1e-5)


class DINOv2Features(TransformerFeatures):
    """DINOv2's class token (arXiv:2304.07193), whose Frechet distance is FD-DINOv2 (arXiv:2306.04675).

    Args:
        weights: The authors' file of a model without registers; by default ``dinov2_vitl14_pretrain.pth``, downloaded
            once to torch.hub's folder.

    Raises:
        GANError: If the weights cannot be had.
    """

    name = "dinov2"
    url = "https://dl.fbaipublicfiles.com/dinov2/dinov2_vitl14/dinov2_vitl14_pretrain.pth"
    file = "dinov2_vitl14_pretrain.pth"
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    grid = 16  # patches a side, of 14 pixels: images of 224

    def build(self, state: dict[str, Tensor]) -> VisionTransformer:
        """DINOv2's: scaled branches; positions brought from a larger grid as the authors do."""
        state = {key: tensor for key, tensor in state.items() if key != "mask_token"}  # for its training alone
        token, positions = state["pos_embed"][:, :1], state["pos_embed"][:, 1:]
        side = round(positions.shape[1] ** 0.5)
        if side != self.grid:
            square = positions.mT.reshape(1, -1, side, side)
            factor = (self.grid + 0.1) / side  # their offset, against a rounding
            square = F.interpolate(square, scale_factor=(factor, factor), mode="bicubic")
            state["pos_embed"] = torch.cat([token, square.flatten(2).mT], dim=1)
        return VisionTransformer.of(state, F.gelu, epsilon=1e-6)


class VisionTransformer(nn.Module):
    """A vision transformer (arXiv:2010.11929) with the names of timm's and DINOv2's files.

    Args:
        width: Length of a token.
        depth: Blocks.
        patch: Height and width of a patch, in pixels.
        grid: Patches a side.
        projection: Length of the projected class token; 0 for none.
        scaled: Whether each branch is scaled by weights of its own (arXiv:2103.17239).
        normed: Whether tokens are normed before the first block, and patches embedded without a bias.
        activation: Between the two layers of a block's perceptron.
        epsilon: Of the layer norms.
    """

    def __init__(
        self,
        width: int,
        depth: int,
        patch: int,
        grid: int,
        projection: int,
        scaled: bool,
        normed: bool,
        activation: Callable[[Tensor], Tensor],
        epsilon: float,
    ) -> None:
        super().__init__()
        self.image_size = patch * grid
        self.num_features = projection or width
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, patch, stride=patch, bias=not normed)})
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, grid**2 + 1, width))
        self.norm_pre = nn.LayerNorm(width, eps=epsilon) if normed else nn.Identity()
        self.blocks = nn.ModuleList(_Block(width, scaled, activation, epsilon) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=epsilon)
        self.head = nn.Linear(width, projection) if projection else nn.Identity()

    @classmethod
    def of(
        cls, state: Mapping[str, Tensor], activation: Callable[[Tensor], Tensor], epsilon: float
    ) -> VisionTransformer:
        """The transformer whose tensors these are, whatever its sizes.

        Raises:
            KeyError: If tensors are missing.
            RuntimeError: If they do not fit each other.
        """
        kernel = state["patch_embed.proj.weight"]
        with torch.device("meta"):  # no random initialisation, which would move the global generator
            network = cls(
                width=len(kernel),
                depth=len({key.split(".")[1] for key in state if key.startswith("blocks.")}),
                patch=kernel.shape[-1],
                grid=round((state["pos_embed"].shape[1] - 1) ** 0.5),
                projection=len(state.get("head.weight", ())),
                scaled="blocks.0.ls1.gamma" in state,
                normed="norm_pre.weight" in state,
                activation=activation,
                epsilon=epsilon,
            )
        network.load_state_dict(state, assign=True)
        return network

    def forward(self, images: Tensor) -> Tensor:
        """The class token ``(N, num_features)`` of images ``(N, 3, image_size, image_size)``."""
        patches = self.patch_embed["proj"](images).flatten(2).mT
        x = torch.cat([self.cls_token.expand(len(images), -1, -1), patches], dim=1) + self.pos_embed
        x = self.norm_pre(x)
        for block in self.blocks:
            x = block(x)
        token: Tensor = self.head(self.norm(x[:, 0]))
        return token


class _Block(nn.Module):
    """Attention, then a perceptron, each normed before and added to what came in."""

    def __init__(self, width: int, scaled: bool, activation: Callable[[Tensor], Tensor], epsilon: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=epsilon), nn.LayerNorm(width, eps=epsilon)
        self.attn = _Attention(width)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)})
        self.ls1: nn.Module = _Scale(width) if scaled else nn.Identity()
        self.ls2: nn.Module = _Scale(width) if scaled else nn.Identity()
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x)))
        hidden: Tensor = self.activation(self.mlp["fc1"](self.norm2(x)))
        out: Tensor = x + self.ls2(self.mlp["fc2"](hidden))
        return out


class _Attention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(x).unflatten(2, (3, -1, HEAD_WIDTH)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return out


class _Scale(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


def _quick_gelu(x: Tensor) -> Tensor:
    """OpenAI's approximation of GELU, with which CLIP was trained."""
    return x * torch.sigmoid(1.702 * x)
