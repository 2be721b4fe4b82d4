import prdc
import pytest
import torch

from gan_modules.functional import neighbours
from gan_modules.functional.neighbours import density_coverage, duplicate_rates, nearest_distances, precision_recall


def features(n, seed, shift=0.0):
    return torch.randn(n, 8, generator=torch.Generator().manual_seed(seed)) + shift


def test_blocks_of_any_size_give_the_same(monkeypatch):
    real, fake = features(90, 0, 100.0), features(70, 1, 100.3)
    monkeypatch.setattr(neighbours, "BLOCK", 1000)  # 11 rows against the reals, 14 against the fakes
    theirs = prdc.compute_prdc(real.double().numpy(), fake.double().numpy(), nearest_k=4)
    ours = [*precision_recall(real, fake, k=4), *density_coverage(real, fake, k=4)]
    assert [value.item() for value in ours] == pytest.approx(list(theirs.values()))
    assert 0 < theirs["recall"] < 1
    by_hand = torch.cdist(real.double(), real.double(), compute_mode="donot_use_mm_for_euclid_dist").sort(dim=1).values
    torch.testing.assert_close(nearest_distances(real, k=2), by_hand[:, 2])


def test_rates_tell_fresh_samples_from_repeated_and_copied_ones():
    real = features(2000, 0, 5.0)
    fresh = [rate.item() for rate in duplicate_rates(real, features(1000, 1, 5.0))]
    assert all(0 < rate < 0.03 for rate in fresh)  # 0.01 but for chance
    one = features(1, 2, 5.0).expand(500, -1)
    assert duplicate_rates(real, one)[0] == 1
    pairs = features(400, 2, 5.0).repeat(2, 1)
    assert duplicate_rates(real, pairs)[0] == 1
    assert duplicate_rates(real, pairs)[1] < 0.03
    copies = duplicate_rates(real, real[:600])
    assert copies[1] == 1
    assert copies[0] < 0.05


def test_a_tenth_of_twins_is_a_tenth():
    fake = torch.cat([features(900, 1), features(100, 2)[:50].repeat_interleave(2, 0)])
    twins, memorised = duplicate_rates(features(5000, 0), fake)
    assert twins.item() == pytest.approx(0.1 + 0.9 * 0.01, abs=0.015)
    assert memorised < 0.03
