"""Ways through latent space, against angles and norms taken with numpy in float64."""

import math

import numpy as np
import pytest
import torch

from gan_modules.functional.latents import closed_path, slerp


def angle(a, b):
    return math.acos(np.clip(a @ b / np.linalg.norm(a) / np.linalg.norm(b), -1, 1))


def test_slerp_turns_at_constant_speed_and_changes_the_norm_linearly():
    start, end = torch.randn(2, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    end *= 3
    way = [slerp(start, end, t).numpy() for t in np.linspace(0, 1, 11)]
    whole = angle(start.numpy(), end.numpy())
    for t, latent in zip(np.linspace(0, 1, 11), way, strict=True):
        assert angle(way[0], latent) == pytest.approx(t * whole, abs=1e-7)
        assert angle(latent, way[-1]) == pytest.approx((1 - t) * whole, abs=1e-7)  # so it never leaves their plane
        assert np.linalg.norm(latent) == pytest.approx(start.norm() * (1 - t) + end.norm() * t)


def test_slerp_takes_each_row_its_own_share_of_the_way():
    starts, ends, shares = torch.randn(5, 4), torch.randn(5, 4), torch.linspace(0, 1, 5)
    rows = [slerp(start, end, float(share)) for start, end, share in zip(starts, ends, shares, strict=True)]
    torch.testing.assert_close(slerp(starts, ends, shares[:, None]), torch.stack(rows))


def test_slerp_of_a_right_angle():
    a, b = torch.eye(2)
    for t in (0.1, 0.25, 0.7):
        expected = torch.tensor([math.cos(t * math.pi / 2), math.sin(t * math.pi / 2)])
        torch.testing.assert_close(slerp(a, b, t), expected)


def test_slerp_begins_and_ends_where_it_should_row_by_row():
    starts, ends = torch.randn(2, 3, 5, 16, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(slerp(starts, ends, 0.0), starts)
    torch.testing.assert_close(slerp(starts, ends, 1.0), ends)
    torch.testing.assert_close(slerp(starts, ends, 0.3)[1, 2], slerp(starts[1, 2], ends[1, 2], 0.3))


@pytest.mark.parametrize("factor", [2.0, 1 + 1e-7, -1.0, -3.0])
def test_slerp_where_there_is_no_arc_is_the_line(factor):
    start = torch.randn(8, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(slerp(start, factor * start, 0.25), start * (0.75 + 0.25 * factor))


def test_slerp_of_close_latents_keeps_its_precision():
    start = torch.randn(512, generator=torch.Generator().manual_seed(3))
    end = start + 1e-3 * torch.randn(512, generator=torch.Generator().manual_seed(4))
    exact = slerp(start.double(), end.double(), 0.5).float()
    torch.testing.assert_close(slerp(start, end, 0.5), exact, rtol=1e-5, atol=1e-6)


def test_a_closed_path_meets_each_key_once_and_comes_back():
    keys = [torch.tensor([0.0]), torch.tensor([4.0]), torch.tensor([2.0])]
    path = [float(latent) for latent in closed_path(keys, 4, torch.lerp)]
    assert path == [0, 1, 2, 3, 4, 3.5, 3, 2.5, 2, 1.5, 1, 0.5]
