"""What can be measured of a game while it is played: numbers from logits, samples and weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.functional import adaptive_avg_pool2d, normalize

LOOK = 16  # height and width to which images are averaged where pixels are compared
POWER_ITERATIONS = 30
SATURATED = 0.99


def auc(above: Tensor, below: Tensor) -> float:
    """Probability that a value ``(N,)`` meant to be above exceeds one ``(M,)`` meant to be below, ties half.

    The area under the ROC curve, which needs no threshold: 1/2 for a judge who guesses.

    >>> auc(torch.tensor([1.0, 2.0]), torch.tensor([0.0, 1.0]))
    0.875
    """
    ordered = below.sort().values
    wins = torch.searchsorted(ordered, above) + torch.searchsorted(ordered, above, right=True)
    return float(wins.double().mean() / (2 * len(below)))


def best_threshold(real: Tensor, fake: Tensor) -> Tensor:
    """The logit from which on images are best called real: the accuracies on either kind have the greatest mean.

    Unlike zero it means the same for a critic, whose logits have no origin.

    >>> best_threshold(torch.tensor([5.0, 6.0]), torch.tensor([3.0, 4.0]))
    tensor(5.)
    """
    candidates = torch.cat([real, fake])
    reals_below = torch.searchsorted(real.sort().values, candidates) / len(real)
    fakes_below = torch.searchsorted(fake.sort().values, candidates) / len(fake)
    threshold: Tensor = candidates[(fakes_below - reals_below).argmax()]
    return threshold


def look(images: Tensor) -> Tensor:
    """Images ``(N, C, H, W)`` averaged down to at most 16×16 as features; points as they are."""
    if images.ndim == 2:
        return images
    height, width = (min(side, LOOK) for side in images.shape[2:])
    return adaptive_avg_pool2d(images, (height, width)).flatten(1)


def saturation(images: Tensor) -> float:
    """Share of the values that lie beyond ±0.99, where a tanh has hardly any gradient."""
    return float((images.abs() > SATURATED).double().mean())


def spectral_norms(network: nn.Module) -> dict[str, float]:
    """The largest singular value of each weight, as a matrix from all its other dimensions to its first.

    By power iteration (arXiv:1802.05957, Alg. 1), from below.
    """
    return {
        name: _spectral_norm(whole(parameter.detach()).float().flatten(1))
        for name, parameter in network.named_parameters()
        if parameter.ndim > 1
    }


def _spectral_norm(matrix: Tensor) -> float:
    right = torch.randn(matrix.shape[1], generator=torch.Generator().manual_seed(0)).to(matrix)
    for _ in range(POWER_ITERATIONS):
        left = normalize(matrix @ right, dim=0)
        right = normalize(left @ matrix, dim=0)
    return float(torch.linalg.vector_norm(matrix @ right))


def norm(tensors: Iterable[Tensor]) -> float:
    """The length of all tensors together as one vector."""
    return float(whole(nn.utils.get_total_norm(tensors)))


def whole(tensor: Tensor) -> Tensor:
    """The tensor itself, gathered where each process holds a part."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


@torch.no_grad()
def in_batches(network: Callable[..., Tensor], size: int, *columns: Tensor, device: torch.device) -> Tensor:
    """What a network makes of the columns ``(N, …)``, in whole batches as in training; the last is filled up."""
    n = len(columns[0])
    places = torch.arange(-(-n // size) * size) % n
    parts = [network(*(column[part].to(device) for column in columns)) for part in torch.split(places, size)]
    return torch.cat([part.float().cpu() for part in parts])[:n]


@contextmanager
def preserve_state(device: torch.device, *networks: nn.Module) -> Iterator[None]:
    """Let networks compute as in training, and forget it: BatchNorm's statistics and the noise stay as they were."""
    buffers = [buffer for network in networks for buffer in network.buffers()]
    kept = [buffer.clone() for buffer in buffers]
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            yield
    finally:
        for buffer, before in zip(buffers, kept, strict=True):
            buffer.copy_(before)
