"""Losses against scipy, torch's BCE with labels, and hand-computed values."""

import math

import numpy as np
import pytest
import torch
from scipy.special import log_expit
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from gan_modules.functional import losses

DISCRIMINATOR = [losses.minimax_d, losses.least_squares_d, losses.hinge_d, losses.wasserstein_d]
GENERATOR = [
    losses.minimax_g,
    losses.non_saturating_g,
    losses.least_squares_g,
    losses.hinge_g,
    losses.wasserstein_g,
]


def logits(*shape, seed=0):
    return 3 * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("shape", [(7, 1), (3, 1, 4, 5)])
def test_minimax_d_is_cross_entropy_with_labels(shape):
    real, fake = logits(*shape), logits(*shape, seed=1)
    expected = bce(real, torch.ones_like(real)) + bce(fake, torch.zeros_like(fake))
    torch.testing.assert_close(losses.minimax_d(real, fake), expected, rtol=1e-12, atol=0)


def test_generator_losses_of_the_minimax_game_match_scipy():
    fake = logits(9, 1)
    assert losses.minimax_g(fake).item() == pytest.approx(log_expit(-fake.numpy()).mean(), rel=1e-12)
    assert losses.non_saturating_g(fake).item() == pytest.approx(-log_expit(fake.numpy()).mean(), rel=1e-12)


def test_saturation_at_a_winning_discriminator():
    # d/dl log(1 - D) = -D vanishes where D is sure of the fake; d/dl (-log D) = D - 1 does not (1406.2661, Sec. 3).
    for loss, expected in [(losses.minimax_g, 0.0), (losses.non_saturating_g, -1.0)]:
        fake = torch.full((1, 1), -30.0, dtype=torch.float64, requires_grad=True)
        loss(fake).backward()
        assert fake.grad.item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("a", "b", "c"), [(0.0, 1.0, 1.0), (-1.0, 1.0, 0.0)])
def test_least_squares(a, b, c):
    real, fake = logits(6, 1), logits(6, 1, seed=1)
    expected_d = 0.5 * np.mean((real.numpy() - b) ** 2) + 0.5 * np.mean((fake.numpy() - a) ** 2)
    expected_g = 0.5 * np.mean((fake.numpy() - c) ** 2)
    assert losses.least_squares_d(real, fake, real_target=b, fake_target=a).item() == pytest.approx(expected_d)
    assert losses.least_squares_g(fake, target=c).item() == pytest.approx(expected_g)


def test_least_squares_defaults_are_the_binary_coding():
    ones, zeros = torch.ones(2, 1), torch.zeros(2, 1)
    assert losses.least_squares_d(ones, zeros) == 0
    assert losses.least_squares_g(ones) == 0
    assert losses.least_squares_g(zeros) == 0.5


def test_hinge_by_hand():
    real = torch.tensor([[2.0], [0.5], [-1.0]])  # 0, 0.5, 2
    fake = torch.tensor([[-3.0], [0.0], [1.0]])  # 0, 1, 2
    assert losses.hinge_d(real, fake).item() == pytest.approx(2.5 / 3 + 1.0)
    assert losses.hinge_g(fake).item() == pytest.approx(2 / 3)


def test_wasserstein_by_hand():
    real, fake = torch.tensor([[2.0], [4.0]]), torch.tensor([[1.0], [-2.0], [4.0]])
    assert losses.wasserstein_d(real, fake).item() == pytest.approx(1.0 - 3.0)
    assert losses.wasserstein_g(fake).item() == pytest.approx(-1.0)


@pytest.mark.parametrize("loss", DISCRIMINATOR + GENERATOR, ids=lambda loss: loss.__name__)
def test_gradients_by_finite_differences(loss):
    arguments = [logits(5, 1).requires_grad_()] + [logits(4, 1, seed=1).requires_grad_()] * (loss in DISCRIMINATOR)
    torch.autograd.gradcheck(loss, arguments)


@pytest.mark.parametrize("loss", DISCRIMINATOR + GENERATOR, ids=lambda loss: loss.__name__)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_logits_are_computed_in_float32(loss, dtype):
    count = 2 if loss in DISCRIMINATOR else 1
    half = [logits(1001, 1, seed=seed).to(dtype) for seed in range(count)]
    value = loss(*half)
    assert value.dtype == torch.float32
    # A mean in bfloat16 would be off in the third digit.
    assert value.item() == pytest.approx(loss(*[x.double() for x in half]).item(), rel=1e-5)


@pytest.mark.parametrize("loss", DISCRIMINATOR + GENERATOR, ids=lambda loss: loss.__name__)
def test_float64_stays_and_large_logits_overflow_nowhere(loss):
    arguments = [torch.tensor([[-1e4], [1e4]], dtype=torch.float64).requires_grad_() for _ in range(2)]
    arguments = arguments if loss in DISCRIMINATOR else arguments[:1]
    value = loss(*arguments)
    value.backward()
    assert value.dtype == torch.float64
    assert value.isfinite()
    assert all(x.grad.isfinite().all() for x in arguments)


def test_undecided_discriminator_pays_log_4():
    assert losses.minimax_d(torch.zeros(3, 1), torch.zeros(5, 1)).item() == pytest.approx(math.log(4))
