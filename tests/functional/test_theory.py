"""The papers' theorems, met by trained and by optimal discriminators."""

import math

import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm
from torch.optim.lr_scheduler import LinearLR

from gan_modules.functional import gradient_penalty, minimax_d, wasserstein_d
from gan_modules.networks import MLPDiscriminator


@pytest.fixture(autouse=True)
def _one_thread():
    """Networks this small only wait for a second thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def train(discriminator, draw, loss, steps, lr):
    optimizer = torch.optim.Adam(discriminator.parameters(), lr, betas=(0.0, 0.9))
    schedule = LinearLR(optimizer, 1.0, 0.01, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(*draw()).backward()
        optimizer.step()
        schedule.step()


def test_trained_discriminator_is_the_density_ratio():
    # 1406.2661, Proposition 1: D* = p_r / (p_r + p_g).
    torch.manual_seed(0)
    real, fake = torch.distributions.Normal(0.0, 1.0), torch.distributions.Normal(1.5, 0.7)
    discriminator = MLPDiscriminator((1,), hidden_dim=64, num_layers=2)
    train(
        discriminator,
        lambda: (real.sample((1024, 1)), fake.sample((1024, 1))),
        lambda x, y: minimax_d(discriminator(x), discriminator(y)),
        steps=1000,
        lr=5e-3,
    )
    grid = torch.linspace(-4, 5, 400)[:, None]
    p_r, p_g = real.log_prob(grid).exp(), fake.log_prob(grid).exp()
    error = (discriminator(grid).sigmoid() - p_r / (p_r + p_g)).abs()
    assert error[p_r + p_g > 0.02].max() < 0.05


@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.0), (0.5, 1.0), (1.5, 0.7), (3.0, 2.0)])
def test_value_at_the_optimum_is_the_jensen_shannon_divergence(shift, scale):
    # 1406.2661, Theorem 1: V(G, D*) = 2·JSD - 2·log 2, which is -log 4 where the two agree.
    p, q = norm(0, 1), norm(shift, scale)

    def kl_to_mixture(first, second):
        def integrand(x):
            mixture = (first.pdf(x) + second.pdf(x)) / 2
            return first.pdf(x) * (first.logpdf(x) - math.log(mixture))

        return quad(integrand, -12, 16, epsabs=1e-11, limit=200)[0]

    jsd = 0.5 * kl_to_mixture(p, q) + 0.5 * kl_to_mixture(q, p)
    # Equally weighted midpoint quantiles stand for the two expectations.
    levels = (torch.arange(20000, dtype=torch.float64) + 0.5).numpy() / 20000
    real_logits, fake_logits = (torch.from_numpy(p.logpdf(x) - q.logpdf(x)) for x in (p.ppf(levels), q.ppf(levels)))
    value = -minimax_d(real_logits, fake_logits).item()
    assert value == pytest.approx(2 * jsd - 2 * math.log(2), abs=1e-3)
    if (shift, scale) == (0.0, 1.0):
        assert value == pytest.approx(-math.log(4), abs=1e-12)


def segments(theta, n=256):
    """Points of {0} × [0, 1] and of {theta} × [0, 1] (1701.07875, Example 1)."""
    return tuple(torch.stack([torch.full((n,), x), torch.rand(n)], dim=1) for x in (0.0, theta))


@pytest.mark.parametrize("theta", [-1.0, 0.25, 0.5, 2.0])
def test_critic_measures_the_distance_of_two_segments(theta):
    torch.manual_seed(0)
    critic, weight = MLPDiscriminator((2,), hidden_dim=64, num_layers=2), 10.0
    train(
        critic,
        lambda: segments(theta),
        lambda x, y: wasserstein_d(critic(x), critic(y)) + weight * gradient_penalty(critic, x, y),
        steps=500,
        lr=5e-3,
    )
    real, fake = segments(theta)
    estimate = -wasserstein_d(critic(real), critic(fake)).item()
    # The penalty is soft: the best slope s minimises -s·|θ| + λ(s - 1)², so it is 1 + |θ|/2λ and not 1.
    assert estimate == pytest.approx(abs(theta) * (1 + abs(theta) / (2 * weight)), rel=0.02)


@pytest.mark.parametrize("theta", [0.25, 0.5, 2.0])
def test_minimax_value_of_two_segments_is_log_2_at_any_distance(theta):
    torch.manual_seed(0)
    discriminator = MLPDiscriminator((2,), hidden_dim=32, num_layers=2)
    train(
        discriminator,
        lambda: segments(theta),
        lambda x, y: minimax_d(discriminator(x), discriminator(y)),
        steps=300,
        lr=1e-2,
    )
    real, fake = segments(theta)
    jsd = (2 * math.log(2) - minimax_d(discriminator(real), discriminator(fake)).item()) / 2
    assert jsd == pytest.approx(math.log(2), abs=0.01)
