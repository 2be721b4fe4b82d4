"""Diagnostics: figures against scikit-learn and numpy, and a sentence for each that is beyond its limit."""

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from torch import nn

from gan_modules.callbacks import Limits, diagnostics
from gan_modules.callbacks.warnings import find_warnings


@pytest.mark.parametrize("shift", [0.0, 0.5, 5.0])
def test_auc_and_threshold_are_scikit_learns(shift):
    rng = np.random.default_rng(0)
    real, fake = np.round(rng.normal(shift, 1, 300), 1), np.round(rng.normal(0, 1, 200), 1)  # with ties
    truth, logits = np.r_[np.ones(300), np.zeros(200)], np.r_[real, fake]
    tensors = torch.from_numpy(real).float(), torch.from_numpy(fake).float()
    assert diagnostics.auc(*tensors) == pytest.approx(roc_auc_score(truth, logits))
    best = max(balanced_accuracy_score(truth, logits >= t) for t in logits)
    threshold = diagnostics.best_threshold(*tensors)
    found = (tensors[0] >= threshold).double().mean() / 2 + (tensors[1] < threshold).double().mean() / 2
    assert found.item() == pytest.approx(best)
    assert diagnostics.auc(tensors[0] * 7 + 3, tensors[1] * 7 + 3) == pytest.approx(diagnostics.auc(*tensors), abs=1e-3)


def test_spectral_norms_are_the_largest_singular_values():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 4), nn.BatchNorm2d(8), nn.ConvTranspose2d(8, 3, 4), nn.Linear(40, 30))
    with torch.no_grad():
        network[3].weight.copy_(torch.outer(torch.arange(30.0), torch.ones(40)))  # of rank one: |a| |b|
    norms = diagnostics.spectral_norms(network.named_parameters())
    assert set(norms) == {"0.weight", "2.weight", "3.weight"}  # no biases, no BatchNorm
    assert norms["3.weight"] == pytest.approx(np.sqrt((np.arange(30) ** 2).sum() * 40))
    for name in norms:
        weight = network.get_parameter(name).detach().numpy()
        exact = np.linalg.norm(weight.reshape(len(weight), -1), 2)
        assert 0.98 * exact < norms[name] < 1.0001 * exact


WELL = {
    "samples": 512,
    "auc": 0.9,
    "overfit": 0.5,
    "duplicates": 0.01,
    "coverage": 0.6,
    "best_coverage": 0.6,
    "saturation": 0.3,
    "saturation_real": 0.3,
    "gradient_generator": 1.0,
    "growth_generator": 1.0,
}
LAYERS = {"generator": "layers.0.weight"}


@pytest.mark.parametrize(
    ("name", "ill", "sentence"),
    [
        ("duplicates", {"duplicates": 0.37}, "G repeats itself: 37% of 512 samples have a near twin among them"),
        ("coverage", {"coverage": 0.04}, "G misses most of the data: its samples come near 4% of the reals"),
        ("coverage", {"coverage": 0.2}, "come near 20% of the reals, and came near 60% at step 700"),
        (
            "overfit",
            {"overfit": 0.91},
            "D overfits: it ranks a training sample above a held-out one in 91%",
        ),
        ("saturation", {"saturation": 0.8}, "80% of their values lie beyond ±0.99, of the reals' 30%"),
        (
            "gradient_generator",
            {"gradient_generator": 3e-9},
            "The generator's gradient has vanished: its norm is 3.0e-09",
        ),
        ("gradient_generator", {"gradient_generator": 2e6}, "The generator's gradient explodes: its norm is 2.0e+06"),
        ("growth_generator", {"growth_generator": 3}, "the spectral norm of layers.0.weight is 3.0 times that of the"),
    ],
)
def test_each_figure_has_its_sentence(name, ill, sentence):
    found = find_warnings(WELL | ill, Limits(), 700, LAYERS)
    assert set(found) == {name}
    assert sentence in found[name]
    assert "; " in found[name]  # and a remedy


def test_the_discriminator_is_blamed_only_where_the_samples_are_poor():
    for auc, sentence in ((1.0, "D leaves G behind"), (0.5, "D cannot tell samples from reals, though they differ")):
        assert find_warnings(WELL | {"auc": auc}, Limits(), 0, LAYERS) == {}
        poor = find_warnings(WELL | {"auc": auc, "coverage": 0.03, "best_coverage": 0.03}, Limits(), 0, LAYERS)
        assert set(poor) == {"coverage", "balance"}
        assert poor["balance"].startswith(sentence)


def test_what_is_well_or_unknown_is_no_warning():
    assert find_warnings(WELL, Limits(), 0, LAYERS) == {}
    assert find_warnings({}, Limits(), 0, LAYERS) == {}
    assert set(find_warnings(WELL, Limits(duplicates=0.005), 0, LAYERS)) == {"duplicates"}
