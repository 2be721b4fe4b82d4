"""Every metric against something independent. As a script it prints the table: python tests/metrics/test_oracles.py"""

import math
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
import prdc
import pytest
import scipy.linalg
import scipy.spatial
import scipy.stats
import sklearn.metrics.pairwise
import sklearn.neighbors
import timm.models.vision_transformer
import torch
import torch_fidelity
import torch_fidelity.feature_extractor_clip
import torch_fidelity.feature_extractor_inceptionv3
import torchmetrics.functional.image.lpips
import torchvision
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torchmetrics.functional.image import perceptual_path_length
from torchmetrics.image.mifid import MemorizationInformedFrechetInceptionDistance

from datamodules import DigitsDataModule
from gan_modules.functional.frechet import frechet_distance, mean_and_covariance, trace_of_root
from gan_modules.functional.kernels import squared_mmd
from gan_modules.functional.latents import slerp
from gan_modules.functional.paths import trimmed_mean
from gan_modules.metrics import (
    CLIPFeatures,
    DensityCoverage,
    DigitFeatures,
    DINOv2Features,
    DuplicateRate,
    FeatureNetwork,
    FrechetDistance,
    InceptionFeatures,
    InceptionScore,
    KernelDistance,
    LPIPSFeatures,
    MemorizationInformedDistance,
    ModeCoverage,
    PerceptualDiversity,
    PerceptualPathLength,
    PrecisionRecall,
    StackedModes,
)
from gan_modules.metrics.inception import tensorflow_resize


class Row(NamedTuple):
    metric: str
    oracle: str
    difference: float  # relative to the largest value
    allowed: float


def row(metric, oracle, ours, theirs, allowed):
    ours, theirs = (np.asarray(value, dtype=np.float64) for value in (ours, theirs))
    assert ours.shape == theirs.shape
    assert np.abs(theirs).max() > 0
    return Row(metric, oracle, float(np.abs(ours - theirs).max() / np.abs(theirs).max()), allowed)


class Given(FeatureNetwork):
    """Images that are features already."""

    name, num_features, resizer = "given", 24, "none"

    def features(self, pixels):
        return pixels.flatten(1)


def samples(n=300, seed=0, shift=0.0, width=24):
    """Features as networks have them: correlated, skewed, none below zero."""
    random = np.random.default_rng(seed)
    mixing = np.random.default_rng(9).standard_normal((width, width))
    return torch.from_numpy(np.maximum(random.standard_normal((n, width)) @ mixing + shift, 0)).float()


REAL, FAKE = samples(), samples(n=260, seed=1, shift=0.4)


def in_order(features):
    """As the metrics sort them, so that random subsets do not hang on the order of the images."""
    return features[features.double().sum(dim=1).argsort()]


def scored(metric, real=REAL, fake=FAKE):
    for features, is_real in ((real, True), (fake, False)):
        for part in features.split(77):
            metric.update_features(part, is_real)
    return [value.item() for value in metric.compute().values()]


def gaussians() -> Iterator[Row]:
    """Commuting covariances, and any two of 2×2, whose root has the trace √(tr + 2 √det)."""
    a, b = torch.tensor([4.0, 1.0, 0.0]), torch.tensor([9.0, 0.25, 1.0])
    distance = frechet_distance(torch.zeros(3), a.diag(), torch.tensor([1.0, 2.0, 0.0]), b.diag())
    yield row("Frechet", "closed form, axes", distance, 5 + 1 + 0.25 + 1, 1e-12)
    one, two = (mean_and_covariance(features[:, :2])[1] for features in (REAL, FAKE))
    product = (one @ two).numpy()
    root = math.sqrt(np.trace(product) + 2 * math.sqrt(np.linalg.det(product)))
    yield row("Frechet", "closed form, 2 by 2", trace_of_root(one, two), root, 1e-12)


def sqrtm() -> Iterator[Row]:
    for kind, n in (("full rank", 900), ("singular", 90)):
        one, two = (samples(n, seed, width=300).numpy() for seed in (2, 3))
        covariances = [np.cov(features, rowvar=False) for features in (one, two)]
        root = np.trace(scipy.linalg.sqrtm(covariances[0] @ covariances[1])).real
        ours = trace_of_root(*map(torch.from_numpy, covariances))
        yield row(f"Frechet's root, {kind}", "scipy sqrtm", ours, root, 1e-6)
    centred = [(features - features.mean(0)) / math.sqrt(len(features) - 1) for features in (one, two)]
    nuclear = np.linalg.norm(centred[0] @ centred[1].T, "nuc")  # of few samples, with no covariance and no root
    yield row("Frechet's root, singular", "numpy nuclear norm", ours, nuclear, 1e-6)


def frechet() -> Iterator[Row]:
    means, covariances = zip(
        *((x.double().mean(0).numpy(), np.cov(x.numpy(), rowvar=False)) for x in (REAL, FAKE)), strict=True
    )
    root = np.trace(scipy.linalg.sqrtm(covariances[0] @ covariances[1])).real
    expected = ((means[0] - means[1]) ** 2).sum() + sum(map(np.trace, covariances)) - 2 * root
    yield row("FrechetDistance", "numpy and scipy", scored(FrechetDistance(Given())), [expected], 1e-6)


def kernel() -> Iterator[Row]:
    theirs = kid_features_to_metric(in_order(FAKE).double(), in_order(REAL).double(), kid_subset_size=50, verbose=False)
    ours = scored(KernelDistance(Given(), subset_size=50))
    yield row("KernelDistance", "torch-fidelity, 100 subsets", ours, list(theirs.values()), 1e-9)
    real, fake = REAL.double().numpy(), FAKE.double().numpy()
    polynomial = sklearn.metrics.pairwise.polynomial_kernel
    a, b = polynomial(real, degree=3, coef0=1), polynomial(fake, degree=3, coef0=1)
    within = sum((k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in (a, b))
    expected = within - 2 * polynomial(real, fake, degree=3, coef0=1).mean()
    yield row("squared MMD", "scikit-learn kernel", squared_mmd(REAL.double(), FAKE.double()), expected, 1e-9)


def inception() -> Iterator[Row]:
    network = DigitFeatures()
    features = samples(width=64)
    logits = network.logits(in_order(features))
    theirs = isc_features_to_metric(logits)
    ours = scored(InceptionScore(network), fake=features)
    yield row("InceptionScore", "torch-fidelity, 10 splits", ours, list(theirs.values()), 1e-6)
    p = logits.double().softmax(1).numpy()
    divergence = scipy.stats.entropy(p, p.mean(0, keepdims=True), axis=1).mean()
    ours = scored(InceptionScore(network, splits=1), fake=features)[0]
    yield row("InceptionScore", "scipy entropy", ours, math.exp(divergence), 1e-6)


def manifolds() -> Iterator[Row]:
    real, fake = REAL.double().numpy(), FAKE.double().numpy()
    for metric, k, keys in (
        (PrecisionRecall(Given()), 3, ("precision", "recall")),
        (DensityCoverage(Given()), 5, ("density", "coverage")),
    ):
        theirs = prdc.compute_prdc(real, fake, nearest_k=k)
        assert all(theirs[key] > 0.05 for key in keys)
        assert any(theirs[key] < 0.98 for key in keys)
        yield row(type(metric).__name__, "prdc", scored(metric), [theirs[key] for key in keys], 1e-9)


def duplicates() -> Iterator[Row]:
    """Fakes of which 30 are repeated and 50 copied from reals, with a little noise."""
    noise = 1e-3 * torch.randn(80, 24, generator=torch.Generator().manual_seed(0))
    fake = torch.cat([FAKE[: len(REAL) - 80], FAKE[:30] + noise[:30], REAL[:50] + noise[30:]])  # as many as reals

    def nearest(points, others, k):
        return sklearn.neighbors.NearestNeighbors().fit(others).kneighbors(points, k)[0][:, -1]

    threshold = np.quantile(nearest(REAL, REAL, 2), 0.01)
    expected = [(nearest(fake, fake, 2) <= threshold).mean(), (nearest(fake, REAL, 1) <= threshold).mean()]
    assert expected[0] >= 60 / len(fake)
    assert expected[1] >= 50 / len(fake)
    yield row("DuplicateRate", "scikit-learn neighbours", scored(DuplicateRate(Given()), fake=fake), expected, 1e-9)


def memorisation() -> Iterator[Row]:
    """torchmetrics takes the nearest fake of each real; the paper, the nearest real of each fake: sides swapped."""
    fake = torch.cat([FAKE[:40], REAL[:200] + 0.01])
    theirs = MemorizationInformedFrechetInceptionDistance(nn.Identity())
    theirs.update(fake, real=True)
    theirs.update(REAL, real=False)
    frechet = scored(FrechetDistance(Given()), fake=fake)[0]
    ours = scored(MemorizationInformedDistance(Given()), fake=fake)[0]
    assert ours > 5 * frechet
    yield row("MemorizationInformedDistance", "torchmetrics, swapped", ours, theirs.compute(), 1e-5)
    unlike = scored(MemorizationInformedDistance(Given(), threshold=1e-4), fake=fake)[0]
    yield row("MemorizationInformedDistance", "its Frechet, above τ", unlike, frechet, 1e-9)


class Lines(nn.Module):
    """From latents to images by a fixed matrix; draws given latents, as torchmetrics wants."""

    def __init__(self, latents):
        super().__init__()
        self.matrix = torch.randn(4, 24, generator=torch.Generator().manual_seed(3)).double() / 20
        self.latents = list(latents)

    def sample(self, n):
        return self.latents.pop(0)

    def forward(self, z):
        return ((z @ self.matrix) + 1).view(-1, 1, 4, 6) * 127.5


class SquaredDistance(nn.Module):
    def forward(self, a, b):
        return ((a.double() - b.double()) * 127.5).square().flatten(1).sum(1)


def paths() -> Iterator[Row]:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 101, 4, generator=generator, dtype=torch.float64).unbind()  # 101: the same two are cut off
    line = Lines([a, b])
    theirs = perceptual_path_length(line, 101, sim_net=SquaredDistance(), epsilon=1e-3)[0]
    for name, t in (("torchmetrics", torch.zeros(101)), ("closed form, lerp", torch.rand(101, generator=generator))):
        metric = PerceptualPathLength(Given(), epsilon=1e-3, path=torch.lerp)
        metric.update(lambda z: line(z) / 127.5 - 1, a, b, t.double())
        (ours,) = metric.compute().values()
        if name != "torchmetrics":
            theirs = trimmed_mean(127.5**2 * ((b - a) @ line.matrix).square().sum(1))
        yield row("PerceptualPathLength", name, ours, theirs, 1e-3)  # steps of 1e-3 in float32 images
    unit = [x / x.norm(dim=1, keepdim=True) for x in (a, b)]
    t = torch.linspace(0, 1, 7, dtype=torch.float64)
    ours = slerp(unit[0][:1].expand(7, -1), unit[1][:1].expand(7, -1), t[:, None])
    theirs = scipy.spatial.geometric_slerp(unit[0][0].numpy(), unit[1][0].numpy(), t.numpy())
    yield row("slerp", "scipy geometric_slerp", ours, theirs, 1e-9)
    values = torch.rand(250, generator=generator).double()
    low, high = np.percentile(values, 1, method="lower"), np.percentile(values, 99, method="higher")
    theirs = np.extract((low <= values.numpy()) & (values.numpy() <= high), values.numpy()).mean()
    yield row("trimmed mean", "numpy, as the authors", trimmed_mean(values), theirs, 1e-9)


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


def modes() -> Iterator[Row]:
    random = np.random.default_rng(0)
    centres = torch.tensor([[0.0, 0.0], [5.0, 0.0], [0.0, 5.0], [5.0, 5.0]])
    which = random.choice(4, 500, p=[0.6, 0.2, 0.2, 0.0])
    metric = ModeCoverage(centres, std=0.1)
    for part in centres[which].split(99):
        metric.update(part, real=False)
    counts = np.bincount(which, minlength=4)
    expected = [3, 1, scipy.stats.entropy(counts, np.ones(4))]
    yield row("ModeCoverage", "scipy entropy", list(metric.compute().values()), expected, 1e-6)

    images, labels = next(iter(DigitsDataModule(batch_size=359).val_dataloader()))
    known = DigitFeatures().classify(images).argmax(1) == labels
    images, labels = images[known], labels[known].numpy()
    reals, fakes = random.choice(len(images), (2000, 3)), random.choice(len(images) // 3, (400, 3))
    metric = StackedModes("digits")
    metric.update(images[fakes][:, :, 0], real=False)
    uniform = [value.item() for value in metric.compute().values()]
    metric.update(images[reals][:, :, 0], real=True)
    counted = [value.item() for value in metric.compute().values()]
    real_counts, counts = (np.bincount(labels[rows] @ [100, 10, 1], minlength=1000) for rows in (reals, fakes))
    reached = (counts > 0).sum()
    expected = [reached, scipy.stats.entropy(counts, np.ones(1000))]
    yield row("StackedModes", "scipy, even modes", uniform, expected, 1e-6)
    yield row(
        "StackedModes", "scipy, counted modes", counted, [reached, scipy.stats.entropy(counts, real_counts + 1)], 1e-6
    )


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
    network.network.patch_embed["proj"].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][0]))
    network(pixels)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (network.mean, network.std))
    pillow = Image.fromarray(pixels[0].permute(1, 2, 0).numpy()).resize((224, 224), Image.Resampling.BICUBIC)
    theirs = np.asarray(pillow).transpose(2, 0, 1)
    yield row("bicubic resize", "Pillow, whole bytes", (seen[0] * std + mean) * 255, theirs, 1.3 / 255)


@cache
def dino_file() -> str:
    torch.manual_seed(0)
    reference = timm_dino()
    path = str(Path(tempfile.mkdtemp()) / "dino.pth")
    torch.save(reference.state_dict() | {"mask_token": torch.zeros(1, 128)}, path)
    return path


@cache
def timm_dino() -> nn.Module:
    vit = timm.models.vision_transformer.VisionTransformer(
        img_size=224,
        patch_size=14,
        embed_dim=128,
        depth=2,
        num_heads=2,
        init_values=1.0,
        num_classes=0,
        global_pool="token",
    )
    for parameter in vit.parameters():
        nn.init.normal_(parameter, std=0.1)
    return vit.eval()


def transformers() -> Iterator[Row]:
    images = torch.randint(256, (3, 3, 224, 224), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    ours = DINOv2Features(dino_file())
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (ours.mean, ours.std))
    with torch.no_grad():
        theirs = timm_dino()((images / 255 - mean) / std)
        yield row("DINOv2Features", "timm", ours(images), theirs, 1e-5)

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


CASES = [
    gaussians,
    sqrtm,
    frechet,
    published,
    kernel,
    inception,
    memorisation,
    manifolds,
    duplicates,
    paths,
    lpips,
    modes,
    resizers,
    transformers,
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_metrics_are_what_others_compute(case):
    rows = list(case())
    assert rows
    for found in rows:
        assert found.difference <= found.allowed, found


def main():
    print("| metric | oracle | largest relative difference | allowed |\n|---|---|---|---|")
    for case in CASES:
        for metric, oracle, difference, allowed in case():
            print(f"| {metric} | {oracle} | {difference:.1e} | {allowed:.0e} |", flush=True)


if __name__ == "__main__":
    main()
