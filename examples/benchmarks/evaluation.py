"""What an evaluation costs beside the usual tools: the Frechet distance's root, and Inception's features.

    python examples/benchmarks/evaluation.py
    python examples/benchmarks/evaluation.py --pairs 10 --images 256 --threads 2

In turns, A B A B, in one process and with the same threads and allocator:

- tr (A B)^½ of two covariances of 2048 dimensions, by `gan_modules` and by ``scipy.linalg.sqrtm``: of more samples
  than dimensions, and of fewer, which makes them singular;
- 2048 features of uint8 images 32×32, by `InceptionFeatures` and by torch-fidelity's ``FeatureExtractorInceptionV3``,
  with the same weights from a seed, for which speed does not care.

The ratios printed are theirs to ours within each pair: their median, and the least and the largest.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from unittest.mock import patch

import numpy as np
import scipy.linalg
import torch
import torch_fidelity.feature_extractor_inceptionv3 as reference
from jsonargparse import auto_cli
from torch import Tensor, nn

from gan_modules.functional.frechet import trace_of_root
from gan_modules.metrics import InceptionFeatures

DIMENSIONS = 2048


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def in_pairs(ours: Callable[[], object], theirs: Callable[[], object], pairs: int) -> tuple[list[float], list[float]]:
    """Seconds of each, by turns, of which the first after a warm-up is ours, then theirs."""
    seconds = [(timed(ours), timed(theirs)) for _ in range(pairs)]
    return [pair[0] for pair in seconds], [pair[1] for pair in seconds]


def report(what: str, ours: list[float], theirs: list[float]) -> None:
    ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
    print(
        f"{what}: {median(ours):.2f} s against {median(theirs):.2f} s; ratio {median(ratios):.2f} "
        f"({min(ratios):.2f} to {max(ratios):.2f}, {len(ratios)} pairs)",
        flush=True,
    )


def compare_roots(pairs: int) -> None:
    random = np.random.default_rng(0)
    mixing = random.standard_normal((DIMENSIONS, DIMENSIONS)) * np.arange(1, DIMENSIONS + 1)[:, None] ** -0.5
    for kind, samples in (("full rank", 2 * DIMENSIONS), ("singular", DIMENSIONS // 2)):
        features = [np.maximum(random.standard_normal((samples, DIMENSIONS)) @ mixing, 0) for _ in range(2)]
        one, two = (np.cov(x, rowvar=False) for x in features)
        tensors = torch.from_numpy(one), torch.from_numpy(two)
        values: dict[str, float] = {}

        def ours(tensors: tuple[Tensor, Tensor] = tensors, values: dict[str, float] = values) -> None:
            values["ours"] = trace_of_root(*tensors).item()

        def theirs(one: np.ndarray = one, two: np.ndarray = two, values: dict[str, float] = values) -> None:
            values["theirs"] = np.trace(scipy.linalg.sqrtm(one @ two)).real

        report(f"root at {DIMENSIONS} dimensions, {kind}, against sqrtm", *in_pairs(ours, theirs, pairs))
        print(f"  relative difference of the values: {abs(values['ours'] / values['theirs'] - 1):.1e}")


def seeded_inception() -> reference.FeatureExtractorInceptionV3:
    """torch-fidelity's extractor, its weights from a seed."""
    extractor = reference.FeatureExtractorInceptionV3
    with (
        patch.object(reference, "load_state_dict_from_url", lambda *_, **__: {}),
        patch.object(extractor, "load_state_dict", lambda *_, **__: None),
    ):
        torch.manual_seed(0)
        network = extractor("inception-v3-compat", ["2048"])
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):  # the default initialisation would let every image fade to nothing
            nn.init.kaiming_normal_(layer.weight)
    return network


def compare_inception(pairs: int, images: int, batch_size: int) -> None:
    theirs = seeded_inception()
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "inception.pth"
        torch.save(theirs.state_dict(), weights)
        ours = InceptionFeatures(weights)
    batches = torch.randint(256, (images, 3, 32, 32), dtype=torch.uint8).split(batch_size)
    with torch.inference_mode():
        one, two = ours(batches[0]), theirs(batches[0])[0]  # and warm
        seconds = in_pairs(lambda: [ours(x) for x in batches], lambda: [theirs(x) for x in batches], pairs)
    report(f"Inception's features of {images} images, against torch-fidelity", *seconds)
    print(f"  images a second: {images / median(seconds[0]):.1f} against {images / median(seconds[1]):.1f}")
    print(f"  relative difference of the features: {((one - two).abs().max() / two.abs().max()).item():.1e}")


def main(pairs: int = 5, images: int = 128, batch_size: int = 32, threads: int = 1) -> None:
    """Compare and print.

    Args:
        pairs: Measurements of each, by turns.
        images: Images through Inception a measurement.
        batch_size: Images at a time.
        threads: Threads of PyTorch and of scipy's BLAS, which reads OMP_NUM_THREADS at its start.
    """
    torch.set_num_threads(threads)
    compare_inception(pairs, images, batch_size)
    compare_roots(pairs)


if __name__ == "__main__":
    auto_cli(main)
