"""Every feature network, and what makes images fit it, against another's; see `test_oracles.py`."""

import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
import torch_fidelity
import torch_fidelity.feature_extractor_clip
import torch_fidelity.feature_extractor_inceptionv3
import torchmetrics.functional.image.lpips
import torchvision
from oracles import Row, check, row, scored
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

from gan_modules.metrics import (
    CLIPFeatures,
    DINOv2Features,
    FrechetDistance,
    InceptionFeatures,
    InceptionScore,
    KernelDistance,
    LPIPSFeatures,
    PerceptualDiversity,
    PrecisionRecall,
)
from gan_modules.metrics.inception import tensorflow_resize


@cache
def inception_file() -> str:
    """torch-fidelity's Inception with weights from a seed, as the published ones are a download."""
    module = torch_fidelity.feature_extractor_inceptionv3
    extractor_class = module.FeatureExtractorInceptionV3
    with (
        patch.object(module, "load_state_dict_from_url", lambda *_, **__: {}),
        patch.object(extractor_class, "load_state_dict", lambda *_, **__: None),
    ):
        torch.manual_seed(0)
        extractor = extractor_class("inception-v3-compat", ["2048"])
    for layer in extractor.modules():
        if isinstance(layer, nn.Conv2d):  # the default initialisation would let every image fade to nothing
            nn.init.kaiming_normal_(layer.weight)
        if isinstance(layer, nn.BatchNorm2d):
            for tensor, low in (
                (layer.weight, 0.8),
                (layer.bias, 0),
                (layer.running_mean, 0),
                (layer.running_var, 0.8),
            ):
                tensor.data.uniform_(low, low + 0.4)
    path = str(Path(tempfile.mkdtemp()) / "inception.pth")
    torch.save(extractor.state_dict(), path)
    return path


def published() -> Iterator[Row]:
    """torch-fidelity as its users call it, on two folders of images."""
    random = np.random.default_rng(0)
    folders = [tempfile.mkdtemp(), tempfile.mkdtemp()]
    sides = []
    for folder, blur in zip(folders, (3, 5), strict=True):
        small = random.integers(0, 256, (9, blur, blur, 3), dtype=np.uint8)
        sides.append(
            np.stack([np.asarray(Image.fromarray(x).resize((40, 36), Image.Resampling.BICUBIC)) for x in small])
        )
        for i, image in enumerate(sides[-1]):
            Image.fromarray(image).save(f"{folder}/{i:02d}.png")
    theirs = torch_fidelity.calculate_metrics(
        input1=folders[1],
        input2=folders[0],
        cuda=False,
        fid=True,
        kid=True,
        isc=True,
        prc=True,
        kid_subset_size=9,
        kid_subsets=2,
        isc_splits=1,
        feature_extractor="inception-v3-compat",
        feature_extractor_weights_path=inception_file(),
        cache=False,
        verbose=False,
        batch_size=9,
    )
    network = InceptionFeatures(inception_file())
    real, fake = (torch.from_numpy(side).permute(0, 3, 1, 2) for side in sides)
    with torch.inference_mode():
        real, fake = network(real), network(fake)
    for metric, keys in (
        (FrechetDistance(network), ["frechet_inception_distance"]),
        (KernelDistance(network), ["kernel_inception_distance_mean", "kernel_inception_distance_std"]),
        (InceptionScore(network, splits=1), ["inception_score_mean", "inception_score_std"]),
        (PrecisionRecall(network), ["precision", "recall"]),
    ):
        ours = scored(metric, real, fake)
        yield row(f"{metric.names[0]}, images to score", "torch-fidelity", ours, [theirs[key] for key in keys], 1e-4)


def resizers() -> Iterator[Row]:
    random = torch.Generator().manual_seed(0)
    for height, width in ((32, 32), (400, 310), (1, 299)):
        images = torch.randint(256, (2, 3, height, width), generator=random).float()
        theirs = interpolate_bilinear_2d_like_tensorflow1x(images, (299, 299), align_corners=False)
        yield row("TensorFlow 1 resize", "torch-fidelity", tensorflow_resize(images, 299), theirs, 1e-6)
    pixels = torch.randint(256, (1, 3, 90, 50), generator=random, dtype=torch.uint8)
    network = DINOv2Features(dino_file())
    seen = []
    network.network.patch_embed.proj.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][0]))
    network(pixels)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (network.mean, network.std))
    pillow = Image.fromarray(pixels[0].permute(1, 2, 0).numpy()).resize((224, 224), Image.Resampling.BICUBIC)
    theirs = np.asarray(pillow).transpose(2, 0, 1)
    yield row("bicubic resize", "Pillow, whole bytes", (seen[0] * std + mean) * 255, theirs, 1.3 / 255)


@cache
def dino_state() -> dict[str, Tensor]:
    """A DINOv2 of two blocks, 128 wide, by the names of the authors' files."""
    torch.manual_seed(0)
    width = 128
    shapes = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, 257, width),
        "patch_embed.proj.weight": (width, 3, 14, 14),
        "patch_embed.proj.bias": (width,),
    }
    for block in ("blocks.0.", "blocks.1."):
        for name, rows, columns in (("attn.qkv", 3, 1), ("attn.proj", 1, 1), ("mlp.fc1", 4, 1), ("mlp.fc2", 1, 4)):
            shapes |= {f"{block}{name}.weight": (rows * width, columns * width), f"{block}{name}.bias": (rows * width,)}
        shapes |= {f"{block}{name}": (width,) for name in ("ls1.gamma", "ls2.gamma")}
    for norm in ("blocks.0.norm1", "blocks.0.norm2", "blocks.1.norm1", "blocks.1.norm2", "norm"):
        shapes |= {f"{norm}.weight": (width,), f"{norm}.bias": (width,)}
    return {name: torch.randn(shape) * 0.1 for name, shape in shapes.items()}


@cache
def dino_file() -> str:
    path = str(Path(tempfile.mkdtemp()) / "dino.pth")
    torch.save(dino_state() | {"mask_token": torch.zeros(1, 128)}, path)
    return path


def dino_by_torch(images: Tensor) -> Tensor:
    """The class token by PyTorch's own encoder, with the scales of the branches folded into their last layers."""
    state = dino_state()
    patches = F.conv2d(images, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], stride=14)
    tokens = torch.cat([state["cls_token"].expand(len(images), -1, -1), patches.flatten(2).mT], dim=1)
    x = tokens + state["pos_embed"]
    for block in ("blocks.0.", "blocks.1."):
        layer = nn.TransformerEncoderLayer(128, 2, 512, 0.0, "gelu", 1e-6, batch_first=True, norm_first=True).eval()
        names = {"self_attn.in_proj_": "attn.qkv.", "self_attn.out_proj.": "attn.proj.", "linear1.": "mlp.fc1."}
        names |= {"linear2.": "mlp.fc2.", "norm1.": "norm1.", "norm2.": "norm2."}
        scales = {"attn.proj.": state[f"{block}ls1.gamma"], "mlp.fc2.": state[f"{block}ls2.gamma"]}
        for theirs, ours in names.items():
            for part in ("weight", "bias"):
                tensor = state[f"{block}{ours}{part}"]
                if ours in scales:
                    tensor = tensor * scales[ours].view(-1, *[1] * (tensor.ndim - 1))
                layer.get_parameter(theirs + part).data.copy_(tensor)
        x = layer(x)
    return F.layer_norm(x[:, 0], (128,), state["norm.weight"], state["norm.bias"], 1e-6)


def transformers() -> Iterator[Row]:
    images = torch.randint(256, (3, 3, 224, 224), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    ours = DINOv2Features(dino_file())
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (ours.mean, ours.std))
    with torch.no_grad():
        theirs = dino_by_torch((images / 255 - mean) / std)
        yield row("DINOv2Features", "torch.nn.TransformerEncoderLayer", ours(images), theirs, 1e-5)

    torch.manual_seed(1)
    clip = torch_fidelity.feature_extractor_clip.VisionTransformer(32, 8, 128, 2, 2, 40).eval()
    state = {}
    for key, tensor in clip.state_dict().items():
        key = key.replace("transformer.resblocks", "blocks").replace("attn.in_proj_", "attn.qkv.")
        key = key.replace("attn.out_proj", "attn.proj").replace("ln_1", "norm1").replace("ln_2", "norm2")
        key = key.replace("mlp.c_fc", "mlp.fc1").replace("mlp.c_proj", "mlp.fc2").replace("ln_pre", "norm_pre")
        key = key.replace("ln_post", "norm").replace("conv1", "patch_embed.proj")
        state[key] = tensor
    state["cls_token"] = state.pop("class_embedding").view(1, 1, -1)
    state["pos_embed"] = state.pop("positional_embedding")[None]
    state |= {"head.weight": state.pop("proj").T, "head.bias": torch.zeros(40)}
    with tempfile.TemporaryDirectory() as folder:
        save_file({key: tensor.contiguous() for key, tensor in state.items()}, f"{folder}/clip.safetensors")
        ours = CLIPFeatures(f"{folder}/clip.safetensors")
    images = images[:, :, :32, :32].contiguous()
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (ours.mean, ours.std))
    with torch.no_grad():
        yield row("CLIPFeatures", "torch-fidelity", ours(images), clip((images / 255 - mean) / std), 1e-5)


def lpips() -> Iterator[Row]:
    torch.manual_seed(0)
    vgg = torchvision.models.vgg16(weights=None).features
    with patch.object(torchmetrics.functional.image.lpips, "_get_tv_model_features", lambda *_, **__: vgg):
        reference = torchmetrics.functional.image.lpips._LPIPS(net="vgg", resize=32)
    with tempfile.TemporaryDirectory() as folder:
        torch.save({f"features.{key}": tensor for key, tensor in vgg.state_dict().items()}, f"{folder}/vgg.pth")
        network = LPIPSFeatures(f"{folder}/vgg.pth", image_size=32)
    distances = []
    for size in (20, 50):
        images = torch.randint(256, (5, 3, size, size), dtype=torch.uint8)
        floats = images.float() / 127.5 - 1
        first, second = torch.combinations(torch.arange(5)).unbind(1)
        with torch.no_grad():
            theirs = reference(floats[first], floats[second]).flatten()
            features = network(images)
        distances.append((((features[first] - features[second]) ** 2).sum(1), theirs))
    assert features.shape == (5, network.num_features)
    yield row("LPIPS as features", "torchmetrics", *map(torch.cat, zip(*distances, strict=True)), 1e-4)
    metric = PerceptualDiversity(network)
    metric.update(images, real=False)
    metric.update(images[:2], real=True)  # which must not matter
    yield row("PerceptualDiversity", "torchmetrics, all pairs", list(metric.compute().values()), [theirs.mean()], 1e-4)


CASES = [published, lpips, resizers, transformers]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_features_are_what_others_compute(case):
    check(case)
