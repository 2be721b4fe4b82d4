"""Penalties against discriminators whose gradients are known, and against finite differences."""

import pytest
import torch
from torch import nn

from gan_modules.functional import gradient_penalty, r1, r2


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Quadratic(nn.Module):
    """D(x) = ½·xᵀAx with symmetric A, so that ∇D(x) = Ax."""

    def __init__(self, dim):
        super().__init__()
        root = normal(dim, dim, seed=9)
        self.matrix = nn.Parameter(root @ root.T / dim)

    def forward(self, x):
        x = x.flatten(1)
        return 0.5 * torch.einsum("ni,ij,nj->n", x, self.matrix, x)[:, None]


@pytest.mark.parametrize("target", [1.0, 0.0, 3.0])
def test_linear_critic(target):
    slope = torch.tensor([3.0, 4.0], dtype=torch.float64)  # norm 5 everywhere

    def critic(x):
        return x @ slope[:, None]

    real, fake = normal(6, 2), normal(6, 2, seed=1)
    assert gradient_penalty(critic, real, fake, target=target).item() == pytest.approx((5 - target) ** 2)
    assert r1(critic, real).item() == pytest.approx(12.5)
    assert r2(critic, fake).item() == pytest.approx(12.5)


def test_quadratic_discriminator_on_images():
    discriminator, images = Quadratic(12), normal(5, 3, 2, 2)
    expected = 0.5 * (images.flatten(1) @ discriminator.matrix).square().sum(1).mean()
    torch.testing.assert_close(r1(discriminator, images), expected)
    # Real and fake coincide: so do all points between them.
    norms = (images.flatten(1) @ discriminator.matrix).norm(dim=1)
    torch.testing.assert_close(gradient_penalty(discriminator, images, images), ((norms - 1) ** 2).mean())


def test_points_lie_on_the_segments_with_one_epsilon_a_sample():
    seen = []

    def critic(x):
        seen.append(x.detach())
        return x.flatten(1).sum(1, keepdim=True)

    real, fake = normal(4000, 1, 2, 2), normal(4000, 1, 2, 2, seed=1)
    gradient_penalty(critic, real, fake, generator=torch.Generator().manual_seed(3))
    epsilon = ((seen[0] - fake) / (real - fake)).flatten(1)
    torch.testing.assert_close(epsilon, epsilon[:, :1].expand(-1, 4), rtol=0, atol=1e-6)
    assert epsilon.min() > -1e-6
    assert epsilon.max() < 1 + 1e-6
    # Moments of U[0, 1], within five standard errors.
    assert epsilon[:, 0].mean().item() == pytest.approx(1 / 2, abs=5 * (1 / 12 / 4000) ** 0.5)
    assert epsilon[:, 0].var().item() == pytest.approx(1 / 12, abs=5 * (1 / 180 / 4000) ** 0.5)


def test_epsilon_comes_from_the_given_generator_alone():
    discriminator, real, fake = Quadratic(2), normal(3, 2), normal(3, 2, seed=1)
    state = torch.get_rng_state()
    first, second, other = (
        gradient_penalty(discriminator, real, fake, generator=torch.Generator().manual_seed(s)) for s in (5, 5, 6)
    )
    assert first == second != other
    assert torch.equal(state, torch.get_rng_state())


def test_norm_is_taken_per_sample():
    # Slopes 2 and 0 by sample: the mean of the penalties is 1, the penalty of a norm over the batch would not be.
    def critic(x, slope):
        return slope[:, None] * x

    x, slope = normal(2, 1), torch.tensor([2.0, 0.0], dtype=torch.float64)
    assert gradient_penalty(critic, x, x, slope).item() == pytest.approx(1.0)
    assert r1(critic, x, slope).item() == pytest.approx(0.5 * (4 + 0) / 2)


def test_patch_logits_are_summed():
    weight = torch.tensor([[1.0, 2.0], [0.5, -1.0]], dtype=torch.float64)

    def patches(x):
        return x * weight  # (N, 1, 2, 2): the gradient of the sum is the weight

    images = normal(3, 1, 2, 2)
    assert r1(patches, images).item() == pytest.approx(0.5 * weight.square().sum().item())


def test_zero_gradient_gives_finite_gradients():
    slope = torch.zeros(2, 1, dtype=torch.float64, requires_grad=True)
    penalty = gradient_penalty(lambda x: x @ slope, normal(4, 2), normal(4, 2, seed=1))
    penalty.backward()
    assert penalty.item() == 1.0
    assert slope.grad.isfinite().all()


@pytest.mark.parametrize("dim", [2, 4])
def test_parameter_gradients_by_finite_differences(dim):
    real, fake = normal(3, dim), normal(3, dim, seed=1)

    def with_weights(penalty):
        return lambda weight, bias: penalty(lambda x: torch.tanh(x @ weight + bias).pow(2).sum(1, keepdim=True))

    penalties = [
        with_weights(lambda d: r1(d, real)),
        with_weights(lambda d: r2(d, fake)),
        with_weights(lambda d: gradient_penalty(d, real, fake, generator=torch.Generator().manual_seed(0))),
    ]
    for penalty in penalties:
        arguments = (normal(dim, 3, seed=2).requires_grad_(), normal(3, seed=3).requires_grad_())
        torch.autograd.gradcheck(penalty, arguments)
        torch.autograd.gradgradcheck(penalty, arguments)


def test_samples_receive_no_gradient():
    real, fake = normal(3, 2).requires_grad_(), normal(3, 2, seed=1).requires_grad_()
    discriminator = Quadratic(2)
    (gradient_penalty(discriminator, real, fake) + r1(discriminator, real) + r2(discriminator, fake)).backward()
    assert real.grad is None
    assert fake.grad is None
    assert discriminator.matrix.grad.abs().sum() > 0


def test_autocast_does_not_reach_the_penalties():
    torch.manual_seed(0)
    discriminator = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1))
    real, fake = torch.randn(4, 8), torch.randn(4, 8)

    def penalties():
        return [
            gradient_penalty(discriminator, real, fake, generator=torch.Generator().manual_seed(0)),
            r1(discriminator, real),
            r2(discriminator, fake),
        ]

    plain = penalties()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert discriminator(real).dtype == torch.bfloat16
        for inside, outside in zip(penalties(), plain, strict=True):
            assert inside.dtype == torch.float32
            torch.testing.assert_close(inside, outside, rtol=1e-6, atol=0)


def test_half_precision_samples_are_widened():
    discriminator = Quadratic(2).float()
    fake = normal(4, 2).bfloat16()
    assert r2(discriminator, fake).item() == pytest.approx(r2(discriminator, fake.float()).item(), rel=1e-6)
    assert gradient_penalty(discriminator, fake.float(), fake).dtype == torch.float32


def test_unequal_batches_are_refused():
    with pytest.raises(ValueError, match=r"shapes \(3, 2\) and \(1, 2\)"):
        gradient_penalty(Quadratic(2), normal(3, 2), normal(1, 2))
