"""Feature modules as people have them: what can be read as features is, and the rest is said in a sentence."""

import pytest
import torch
from torch import nn

from gan_modules import GANError
from gan_modules.functional.frechet import frechet_distance, mean_and_covariance
from gan_modules.metrics import FrechetDistance, feature_network
from gan_modules.metrics.kinds import FrameFeatures
from gan_modules.scoring import Evaluator, score
from gan_modules.scoring.metric_names import build_metrics

SCALE = 1 / 255


class Strange(nn.Module):
    """Means of the quarters of an image, in a form of its own."""

    num_features = 4

    def __init__(self, form):
        super().__init__()
        self.form = form

    def forward(self, images):
        return self.form(nn.functional.adaptive_avg_pool2d(images.float() * SCALE, 2).mean(1).flatten(1))


FORMS = {
    "as torchvision's pools leave them": lambda f: f[:, :, None, None],
    "squeezed": lambda f: f[:, :, None, None].squeeze(),
    "a token": lambda f: f[:, None],
    "in half precision": lambda f: f.half(),
    "in float64": lambda f: f.double(),
}
FAULTS = {
    "features (5, 4, 7, 7) for 5 samples, not (5, 4): average over": lambda f: f[:, :, None, None].expand(-1, -1, 7, 7),
    "features (5, 2) for 5 samples, not (5, 4): correct its num_features": lambda f: f[:, :2],
    "features (5, 8) for 5 samples, not (5, 4): correct its num_features": lambda f: f.repeat(1, 2),
    "features (4,) for 5 samples": lambda f: f.mean(0),
    "a tuple, not a tensor (5, 4)": lambda f: (f, None),
    "a dict, not a tensor (5, 4)": lambda f: {"features": f},
    "features that are not finite": lambda f: f / 0,
    "features that are not finite real": lambda f: f.to(torch.complex64),
}


def images(n, seed=0):
    return torch.randint(256, (n, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n", [1, 2, 5])
def test_what_can_be_read(form, n):
    found = feature_network(Strange(FORMS[form]))(images(n))
    quarters = images(n).double().unflatten(-1, (2, 4)).unflatten(-3, (2, 4)).mean(dim=(1, 3, 5)).flatten(1) / 255
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), quarters, rtol=0, atol=1e-3 if "half" in form else 1e-6)


def test_a_score_by_them():
    reals, fakes = images(20), images(20, 1)
    [found] = score(fakes, reals, ["fid"], Strange(FORMS["squeezed"]), batch_size=19)  # and one is left for a batch
    plain = feature_network(Strange(lambda f: f))
    expected = frechet_distance(*(s for x in (reals, fakes) for s in mean_and_covariance(plain(x).double())))
    assert found.value == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("said", FAULTS)
def test_what_cannot(said):
    network = feature_network(Strange(FAULTS[said]))
    with pytest.raises(GANError) as caught:
        network(images(5))
    assert str(caught.value).startswith(f"The feature network 'strange' gives {said}")
    with pytest.raises(GANError, match="The feature network 'strange' gives"):
        FrechetDistance(Strange(FAULTS[said])).update(images(5), real=True)
    with pytest.raises(GANError, match="The feature network 'strange' gives"):  # before any image is read
        Evaluator(build_metrics(["fid"], network)).check((3, 8, 8))


def test_frames_of_a_video_are_looked_at():
    clips = images(6).unflatten(0, (2, 3)).transpose(1, 2)
    assert FrameFeatures(feature_network(Strange(FORMS["squeezed"])))(clips).shape == (2, 4)
    with pytest.raises(GANError, match="gives features \\(6, 8\\) for 6 samples, not \\(6, 4\\)"):
        FrameFeatures(feature_network(Strange(lambda f: f.repeat(1, 2))))(clips)


@pytest.mark.parametrize("width", [192, 7])
def test_a_network_that_does_not_take_pixels(width):
    module = nn.Sequential(nn.Flatten(), nn.Linear(width, 4))
    module.num_features = 4
    said = r"^The feature network 'sequential' does not take samples \(2, 3, 8, 8\) of torch.uint8 \(.+\): convert and"
    with pytest.raises(GANError, match=said):
        Evaluator(build_metrics(["fid"], feature_network(module))).check((3, 8, 8))
