"""Statistics of a game in training: of logits, samples and weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.functional import adaptive_avg_pool2d, adaptive_avg_pool3d, normalize

from gan_modules.families.data_spec import Kind
from gan_modules.metrics.kinds import SpectrogramFeatures

SIZE = 16  # height and width to which images are averaged where pixels are compared
FRAMES = 4  # and length to which videos are
POWER_ITERATIONS = 30
SATURATED = 0.99


def auc(above: Tensor, below: Tensor) -> float:
    """Return the probability that a value of `above` ``(N,)`` exceeds one of `below` ``(M,)``; ties count half.

    It is the area under the ROC curve, which needs no threshold: 1/2 for a discriminator that guesses.

    >>> auc(torch.tensor([1.0, 2.0]), torch.tensor([0.0, 1.0]))
    0.875
    """
    ordered = below.sort().values
    wins = torch.searchsorted(ordered, above) + torch.searchsorted(ordered, above, right=True)
    return float(wins.double().mean() / (2 * len(below)))


def best_threshold(real: Tensor, fake: Tensor) -> Tensor:
    """Return the logit at which to split real from fake, with the greatest mean of the accuracies on both.

    Unlike zero, it also suits a critic, whose outputs have no origin.

    >>> best_threshold(torch.tensor([5.0, 6.0]), torch.tensor([3.0, 4.0]))
    tensor(5.)
    """
    candidates = torch.cat([real, fake])
    reals_below = torch.searchsorted(real.sort().values, candidates) / len(real)
    fakes_below = torch.searchsorted(fake.sort().values, candidates) / len(fake)
    threshold: Tensor = candidates[(fakes_below - reals_below).argmax()]
    return threshold


def compact(samples: Tensor, kind: Kind) -> Tensor:
    """Return small features ``(N, D)`` by which to compare samples.

    Images are averaged to at most 16×16 pixels, videos to at most 4 frames of that size; audio is compared by its
    spectrogram's statistics, and points as they are.
    """
    if kind == "image":
        height, width = samples.shape[2:]
        return adaptive_avg_pool2d(samples, (min(height, SIZE), min(width, SIZE))).flatten(1)
    if kind == "video":
        frames, height, width = samples.shape[2:]
        return adaptive_avg_pool3d(samples, (min(frames, FRAMES), min(height, SIZE), min(width, SIZE))).flatten(1)
    return SpectrogramFeatures()(samples) if kind == "audio" else samples


def saturation(samples: Tensor) -> float:
    """Return the share of values beyond ±0.99, where a tanh has hardly any gradient."""
    return float((samples.abs() > SATURATED).double().mean())


def spectral_norms(parameters: Iterable[tuple[str, Tensor]]) -> dict[str, float]:
    """Return the largest singular value of each weight, as a matrix from all its other dimensions to its first.

    Power iteration (arXiv:1802.05957, Alg. 1) finds it from below. Parameters of one dimension are left out.
    """
    return {
        name: _spectral_norm(whole(parameter.detach()).float().flatten(1))
        for name, parameter in parameters
        if parameter.ndim > 1
    }


def _spectral_norm(matrix: Tensor) -> float:
    right = torch.randn(matrix.shape[1], generator=torch.Generator().manual_seed(0)).to(matrix)
    for _ in range(POWER_ITERATIONS):
        left = normalize(matrix @ right, dim=0)
        right = normalize(left @ matrix, dim=0)
    return float(torch.linalg.vector_norm(matrix @ right))


def norm(tensors: Iterable[Tensor]) -> float:
    """Return the norm of all tensors as one vector."""
    return float(whole(nn.utils.get_total_norm(tensors)))


def whole(tensor: Tensor) -> Tensor:
    """Return the tensor, gathered where each process holds a part."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


@torch.no_grad()
def in_batches(function: Callable[..., Tensor], size: int, *columns: Tensor, device: torch.device) -> Tensor:
    """Return a function's output for columns ``(N, …)``, on the CPU, in full batches as in training.

    The last batch is filled up with the first samples.
    """
    n = len(columns[0])
    places = torch.arange(-(-n // size) * size) % n
    parts = [function(*(column[part].to(device) for column in columns)) for part in torch.split(places, size)]
    return torch.cat([part.float().cpu() for part in parts])[:n]


@contextmanager
def preserve_state(device: torch.device, *networks: nn.Module) -> Iterator[None]:
    """Restore the networks' buffers, such as BatchNorm's statistics, and the random state afterwards."""
    buffers = [buffer for network in networks for buffer in network.buffers()]
    kept = [buffer.clone() for buffer in buffers]
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            yield
    finally:
        for buffer, before in zip(buffers, kept, strict=True):
            buffer.copy_(before)
