"""Adversarial losses on logits of any shape: (N, 1), or (N, 1, H, W) of a patch discriminator.

Each is a scalar to be minimised: the mean over all logits, computed in float32 at least. A function `*_d` is
the discriminator's objective, `*_g` the generator's. With D = sigmoid(logit), log D = -softplus(-logit) and
log(1 - D) = -softplus(logit), which overflow nowhere. Where a paper has no sigmoid, D is the logit itself.
"""

from torch import Tensor
from torch.nn.functional import relu, softplus

from gan_modules.functional.precision import at_least_float32


def minimax_d(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return -E[log D(x)] - E[log(1 - D(G(z)))], the negated value of the game (1406.2661, Eq. 1).

    It is the discriminator's side of the non-saturating game as well.

    >>> import torch
    >>> minimax_d(torch.zeros(4, 1), torch.zeros(4, 1))  # D = 1/2 everywhere: log 4
    tensor(1.3863)
    """
    return softplus(-at_least_float32(real_logits)).mean() + softplus(at_least_float32(fake_logits)).mean()


def minimax_g(fake_logits: Tensor) -> Tensor:
    """Return E[log(1 - D(G(z)))], which saturates where the discriminator wins (1406.2661, Eq. 1)."""
    return -softplus(at_least_float32(fake_logits)).mean()


def non_saturating_g(fake_logits: Tensor) -> Tensor:
    """Return -E[log D(G(z))], strong where the discriminator wins (1406.2661, end of Sec. 3)."""
    return softplus(-at_least_float32(fake_logits)).mean()


def least_squares_d(
    real_logits: Tensor, fake_logits: Tensor, real_target: float = 1.0, fake_target: float = 0.0
) -> Tensor:
    """Return ½·E[(D(x) - b)²] + ½·E[(D(G(z)) - a)²] (1611.04076, Eq. 2).

    Args:
        real_logits: Outputs for real samples.
        fake_logits: Outputs for generated samples.
        real_target: The paper's b: 1 in both of its settings.
        fake_target: The paper's a: 0 (Eq. 9), or -1 with the generator's target 0 (Eq. 8, Pearson χ²).
    """
    real, fake = at_least_float32(real_logits), at_least_float32(fake_logits)
    return 0.5 * ((real - real_target).square().mean() + (fake - fake_target).square().mean())


def least_squares_g(fake_logits: Tensor, target: float = 1.0) -> Tensor:
    """Return ½·E[(D(G(z)) - c)²] (1611.04076, Eq. 2).

    Args:
        fake_logits: Outputs for generated samples.
        target: The paper's c: 1 (Eq. 9), or 0 with the discriminator's targets (-1, 1) (Eq. 8).
    """
    return 0.5 * (at_least_float32(fake_logits) - target).square().mean()


def hinge_d(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return E[max(0, 1 - D(x))] + E[max(0, 1 + D(G(z)))] (1705.02894; 1802.05957, Eq. 16)."""
    return relu(1 - at_least_float32(real_logits)).mean() + relu(1 + at_least_float32(fake_logits)).mean()


def hinge_g(fake_logits: Tensor) -> Tensor:
    """Return -E[D(G(z))] (1705.02894; 1802.05957, Eq. 17)."""
    return -at_least_float32(fake_logits).mean()


def wasserstein_d(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return E[D(G(z))] - E[D(x)]: minus the Wasserstein distance at the best critic (1701.07875, Eq. 2)."""
    return at_least_float32(fake_logits).mean() - at_least_float32(real_logits).mean()


def wasserstein_g(fake_logits: Tensor) -> Tensor:
    """Return -E[D(G(z))] (1701.07875, Theorem 3)."""
    return -at_least_float32(fake_logits).mean()
