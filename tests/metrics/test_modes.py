import math

import pytest
import torch

from gan_modules.metrics import mode_coverage


def test_hand_made_example():
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]])
    points = torch.cat(
        [
            torch.tensor([[0.0, 0.2]]).expand(27, 2),  # 2 std from the first centre
            torch.tensor([[10.0, 0.31]]).expand(10, 2),  # 3.1 std from the second: not close
            torch.tensor([[0.0, 10.0]]).expand(2, 2),  # at the third; a tenth of its even share is 1
            torch.tensor([[5.0, 5.0]]),  # nowhere
        ]
    )
    coverage = mode_coverage(points, centres, std=0.1)
    assert coverage.modes == 2
    assert coverage.share == pytest.approx(29 / 40)
    assert coverage.kl == pytest.approx(27 / 29 * math.log(27 / 29 * 4) + 2 / 29 * math.log(2 / 29 * 4))
    assert mode_coverage(points, centres, std=0.1, within=4)[:2] == (3, pytest.approx(39 / 40))


def test_a_mode_needs_a_tenth_of_its_even_share():
    centres = torch.tensor([[0.0, 0.0], [1.0, 0.0]])

    def with_second(n):
        return torch.cat([torch.zeros(200 - n, 2), torch.tensor([[1.0, 0.0]]).expand(n, 2)])

    assert mode_coverage(with_second(10), centres, std=0.01).modes == 2
    assert mode_coverage(with_second(9), centres, std=0.01).modes == 1


@pytest.mark.parametrize("within", [1.0, 3.0])
def test_share_of_the_true_mixture_is_the_closed_form(within):
    generator = torch.Generator().manual_seed(0)
    angles = torch.arange(8) * math.pi / 4
    centres = torch.stack([angles.cos(), angles.sin()], dim=1)
    n = 400_000
    noise = 0.02 * torch.randn(n, 2, generator=generator)
    points = centres[torch.randint(8, (n,), generator=generator)] + noise
    modes, share, kl = mode_coverage(points, centres, std=0.02, within=within)
    expected = 1 - math.exp(-(within**2) / 2)  # the distance in std is Rayleigh
    assert modes == 8
    assert 0 <= kl < 20 / (expected * n)  # 2 N KL is about chi-squared with 7 degrees of freedom
    assert share == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / n))


def test_far_clusters_keep_their_digits():
    """Distances by a matrix product are off by far more than std here."""
    centres = torch.stack([torch.arange(50.0) * 1000, torch.zeros(50)], dim=1)
    points = centres + torch.tensor([0.0, 0.5])
    assert mode_coverage(points, centres, std=0.2) == (50, 1.0, 0.0)
    assert mode_coverage(points, centres, std=0.1)[:2] == (0, 0.0)
