"""How a metric is held against something independent."""

from typing import NamedTuple

import numpy as np
import torch

from gan_modules.metrics import FeatureNetwork


class Row(NamedTuple):
    metric: str
    oracle: str
    difference: float  # relative to the largest value
    allowed: float


def row(metric, oracle, ours, theirs, allowed):
    ours, theirs = (np.asarray(value, dtype=np.float64) for value in (ours, theirs))
    assert ours.shape == theirs.shape
    assert np.abs(theirs).max() > 0
    return Row(metric, oracle, float(np.abs(ours - theirs).max() / np.abs(theirs).max()), allowed)


class Given(FeatureNetwork):
    """Images that are features already."""

    name, num_features, resizer = "given", 24, "none"

    def features(self, pixels):
        return pixels.flatten(1)


def samples(n=300, seed=0, shift=0.0, width=24):
    """Features as networks have them: correlated, skewed, none below zero."""
    random = np.random.default_rng(seed)
    mixing = np.random.default_rng(9).standard_normal((width, width))
    return torch.from_numpy(np.maximum(random.standard_normal((n, width)) @ mixing + shift, 0)).float()


REAL, FAKE = samples(), samples(n=260, seed=1, shift=0.4)


def in_order(features):
    """As the metrics sort them, so that random subsets do not hang on the order of the images."""
    return features[features.double().sum(dim=1).argsort()]


def scored(metric, real=REAL, fake=FAKE):
    for features, is_real in ((real, True), (fake, False)):
        for part in features.split(77):
            metric.update_features(part, is_real)
    return [value.item() for value in metric.compute().values()]


def check(case):
    """Hold each of a case's rows against what is allowed."""
    rows = list(case())
    assert rows
    for found in rows:
        assert found.difference <= found.allowed, found


def table(cases):
    """Print the rows of all cases."""
    print("| metric | oracle | largest relative difference | allowed |\n|---|---|---|---|")
    for case in cases:
        for metric, oracle, difference, allowed in case():
            print(f"| {metric} | {oracle} | {difference:.1e} | {allowed:.0e} |", flush=True)
