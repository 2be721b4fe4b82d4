import hashlib
import pickle
import socket
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import gan_modules.metrics
from gan_modules.errors import GANError
from gan_modules.metrics import (
    CLIPFeatures,
    DigitFeatures,
    DINOv2Features,
    DuplicateRate,
    FrechetDistance,
    InceptionFeatures,
    InceptionScore,
    KernelDistance,
    LPIPSFeatures,
    ModuleFeatures,
    PerceptualPathLength,
    PrecisionRecall,
    StackedModes,
    feature_network,
)

BUNDLED = Path(gan_modules.metrics.__file__).with_name("digits.safetensors")


class Pixels(nn.Flatten):
    num_features = 256


def test_names_files_and_modules_stand_for_networks():
    assert isinstance(feature_network("digits"), DigitFeatures)
    assert feature_network(BUNDLED).name == feature_network(str(BUNDLED)).name == "digits"
    own = DigitFeatures()
    assert feature_network(own) is own
    wrapped = feature_network(Pixels())
    assert (wrapped.name, wrapped.num_features) == ("pixels", 256)
    images = torch.randint(256, (3, 1, 16, 16), dtype=torch.uint8)
    assert torch.equal(wrapped(images), images.flatten(1).float())
    assert torch.equal(wrapped(images / 127.5 - 1), images.flatten(1).float())
    with pytest.raises(GANError, match="no feature network 'inzeption': choose of digits, inception, clip"):
        feature_network("inzeption")
    with pytest.raises(GANError, match="weights belong to inception"):
        feature_network("digits", weights=BUNDLED)
    with pytest.raises(GANError, match="Flatten needs an attribute num_features"):
        feature_network(nn.Flatten())


def test_the_hash_is_the_files_or_else_that_of_the_tensors():
    assert DigitFeatures().sha256 == hashlib.sha256(BUNDLED.read_bytes()).hexdigest()
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 2), nn.BatchNorm1d(2))
    module.num_features = 2
    first = ModuleFeatures(module).sha256
    assert ModuleFeatures(module).sha256 == first
    with torch.no_grad():
        module[1].weight[1, 3] += 1e-6
    assert ModuleFeatures(module).sha256 != first


def test_floats_are_rounded_as_a_file_would():
    bytes_ = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    nudged = bytes_ / 127.5 - 1 + 0.003 * (torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0)) - 0.5)
    features = DigitFeatures()
    assert torch.equal(features(nudged), features(bytes_))
    assert torch.equal(features(nudged + 2.01), features(torch.full_like(bytes_, 255)))  # and cut off


def test_features_do_not_follow_autocast():
    images = torch.randint(256, (3, 1, 16, 16), dtype=torch.uint8)
    features = DigitFeatures()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(features(images), features(images))
        inside = features(images)
    assert torch.equal(inside, features(images))


def test_positions_of_a_larger_grid_are_brought_over_as_dinov2_does(tmp_path):
    """A ramp over 37 positions is still one over 16, seen at (i + ½) · 37 / 16.1 - ½, as far as no border is near.

    PyTorch's cubic has -3/4 at its borders, which bends a line by up to 1/20; without the 1/10 it would be off by 1/5.
    """
    width = 64
    generator = torch.Generator().manual_seed(0)
    state = {"cls_token": torch.zeros(1, 1, width), "mask_token": torch.zeros(1, width)}
    ramp = torch.arange(37.0).view(1, 37, 1, 1).expand(1, 37, 37, width).flatten(1, 2)
    state["pos_embed"] = torch.cat([torch.full((1, 1, width), 7.0), ramp], dim=1)
    state["patch_embed.proj.weight"] = torch.randn(width, 3, 14, 14, generator=generator)
    state["patch_embed.proj.bias"] = torch.zeros(width)
    for part in ("weight", "bias"):
        state[f"norm.{part}"] = torch.ones(width)
    torch.save(state, tmp_path / "dino.pth")
    positions = DINOv2Features(tmp_path / "dino.pth").network.pos_embed[0]
    assert torch.equal(positions[0], torch.full((width,), 7.0))
    grid = positions[1:].view(16, 16, width)
    expected = (torch.arange(16) + 0.5) * 37 / 16.1 - 0.5
    torch.testing.assert_close(grid[1:-1], expected[1:-1].view(-1, 1, 1).expand(-1, 16, width), rtol=0, atol=0.05)


def test_networks_without_classes_score_none():
    for metric in (InceptionScore, StackedModes):
        with pytest.raises(GANError, match="'pixels' does not classify"):
            metric(Pixels())
    with pytest.raises(GANError, match="of images, and 'pixels' is none"):
        PerceptualPathLength(Pixels())
    with pytest.raises(GANError, match="three channels, and these have 1"):
        StackedModes("digits").update(torch.zeros(2, 1, 16, 16), real=False)


def test_too_few_images_are_said_to_be():
    few = torch.rand(2, 64, generator=torch.Generator().manual_seed(0))
    for metric, n, message in (
        (
            FrechetDistance("digits"),
            1,
            "FrechetDistance cannot score: at least two real samples are needed.*there are 1",
        ),
        (KernelDistance("digits"), 1, "two real and two fake samples: there are 1, 1"),
        (PrecisionRecall("digits"), 2, "Neighbour number 3 is asked for, and each sample has 1"),
        (InceptionScore("digits"), 2, "over 10 splits needs as many samples, and there are 2"),
        (DuplicateRate("digits"), 1, "each sample has 0"),
    ):
        for real in (True, False):
            metric.update_features(few[:n], real)
        with pytest.raises(GANError, match=message):
            metric.compute()


def test_reset_keeps_the_reals_where_asked_to_and_a_new_sample_renews_the_score():
    generator = torch.Generator().manual_seed(0)
    real, fake = torch.rand(2, 80, 64, generator=generator)
    for metric_class in (FrechetDistance, KernelDistance):
        kept, fresh = metric_class("digits", keep_reals=True), metric_class("digits")
        values = []
        for features in (fake, fake * 2):
            kept.reset()
            fresh.reset()
            if not values:
                kept.update_features(real, True)
            fresh.update_features(real, True)
            for metric in (kept, fresh):
                metric.update_features(features, False)
                values.append(next(iter(metric.compute().values())).item())
        assert values[0] == values[1] != values[2] == values[3]
        kept.update_features(fake, False)  # computed before, and out of date
        assert next(iter(kept.compute().values())).item() != values[3]
        kept.keep_reals = False
        kept.reset()
        kept.update_features(fake, False)
        with pytest.raises(GANError, match="real"):
            kept.compute()


# ---- weights that cannot be had --------------------------------------------------------------------------------


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """No network, and an empty torch.hub folder, which is returned."""

    def refuse(*args, **kwargs):
        raise OSError("Network is unreachable")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    return tmp_path / "hub" / "checkpoints"


class Bomb:
    """A pickle that acts when it is read."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return open, (str(self.marker), "w")


@pytest.mark.parametrize(
    ("network", "file"),
    [
        (InceptionFeatures, "weights-inception-2015-12-05-6726825d.pth"),
        (CLIPFeatures, "vit_base_patch32_clip_224.openai.safetensors"),
        (DINOv2Features, "dinov2_vitl14_pretrain.pth"),
        (LPIPSFeatures, "vgg16-397923af.pth"),
    ],
)
def test_weights_that_cannot_be_had_are_named_and_others_refused(network, file, tmp_path, offline):
    def sentence(**arguments):
        random_state = torch.get_rng_state()
        with pytest.raises(GANError) as caught:
            network(**arguments)
        assert torch.equal(torch.get_rng_state(), random_state)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    missing = sentence()
    assert all(part in missing for part in (network.__name__, file, str(offline), "weights=", "https://"))
    assert not any(offline.glob("*"))
    assert "There is no file" in sentence(weights=tmp_path / "nowhere.pth")
    bomb, marker = tmp_path / "bomb.pth", tmp_path / "exploded"
    bomb.write_bytes(pickle.dumps(Bomb(marker)))
    assert f"{bomb} is damaged or holds more than weights" in sentence(weights=bomb)
    assert not marker.exists()
    others = tmp_path / "others.pth"
    for contents in (nn.Linear(2, 2).state_dict(), load_file(BUNDLED), [torch.zeros(3)]):
        torch.save(contents, others)
        message = sentence(weights=str(others))
        assert f"{others} holds other weights" in message
        assert file in message
    (tmp_path / "cut.pth").write_bytes(others.read_bytes()[:-40])
    assert "is damaged or holds more than weights" in sentence(weights=tmp_path / "cut.pth")
    offline.mkdir(parents=True, exist_ok=True)
    (offline / file).write_bytes(b"")  # a download that was cut short
    assert f"{offline / file} is damaged or holds more than weights" in sentence()
