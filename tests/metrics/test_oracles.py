"""Every metric against something independent. As a script it prints the table: python tests/metrics/test_oracles.py"""

import math
from collections.abc import Iterator

import numpy as np
import prdc
import pytest
import scipy.linalg
import scipy.spatial
import scipy.stats
import sklearn.metrics.pairwise
import sklearn.neighbors
import torch
from oracles import FAKE, REAL, Given, Row, check, in_order, row, samples, scored, table
from torch import nn
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
    DensityCoverage,
    DigitFeatures,
    DuplicateRate,
    FrechetDistance,
    InceptionScore,
    KernelDistance,
    MemorizationInformedDistance,
    ModeCoverage,
    PerceptualPathLength,
    PrecisionRecall,
    StackedModes,
)


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


CASES = [gaussians, sqrtm, frechet, kernel, inception, memorisation, manifolds, duplicates, paths, modes]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_metrics_are_what_others_compute(case):
    check(case)


if __name__ == "__main__":
    from test_network_oracles import CASES as OF_NETWORKS

    table([*CASES, *OF_NETWORKS])
