import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

import gan_modules.metrics
from datamodules import DigitsDataModule
from gan_modules.errors import GANError
from gan_modules.metrics import Classifier, ClassifierFeatures, DigitFeatures

BUNDLED = Path(gan_modules.metrics.__file__).with_name("digits.safetensors")


def held_out(image_size=16):
    loader = DigitsDataModule(image_size=image_size, batch_size=359).val_dataloader()
    images, labels = next(iter(loader))
    return images, labels


def test_the_bundled_classifier_knows_digits_it_has_not_seen():
    images, labels = held_out()
    assert BUNDLED.stat().st_size <= 500_000
    assert (DigitFeatures().classify(images).argmax(1) == labels).float().mean() >= 0.97


@pytest.mark.parametrize("image_size", [8, 32, 50])
def test_other_sizes_and_colour_are_brought_to_what_it_knows(image_size):
    images, labels = held_out(image_size)
    logits = DigitFeatures().classify(images.expand(-1, 3, -1, -1))
    assert (logits.argmax(1) == labels).float().mean() >= 0.97


def test_features_are_those_of_the_file_computed_by_hand():
    images = held_out()[0][:9]
    state = load_file(BUNDLED)
    x = images.float() / 127.5 - 1
    for i in range(3):
        x = F.conv2d(x, state[f"blocks.{i}.0.weight"], state[f"blocks.{i}.0.bias"], padding=1)
        norm = [state[f"blocks.{i}.1.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        mean, var, weight, bias = (tensor.view(1, -1, 1, 1) for tensor in norm)
        x = F.max_pool2d(((x - mean) / (var + 1e-5).sqrt() * weight + bias).clamp(min=0), 2)
    expected = (x.flatten(1) @ state["project.weight"].T + state["project.bias"]).clamp(min=0)
    features = DigitFeatures().train()  # which must not bring batch statistics back
    assert features.num_features == expected.shape[1] == 64
    torch.testing.assert_close(features(images), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(features(images.float() / 127.5 - 1), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(features(images[:1]), expected[:1], rtol=1e-4, atol=1e-4)
    assert not any(p.requires_grad for p in features.parameters())


def test_what_is_saved_is_what_is_loaded_and_no_random_number_is_drawn(tmp_path):
    network = Classifier(channels=3, image_size=12, num_classes=5, widths=(4, 6), num_features=7).eval()
    network.save(tmp_path / "own.safetensors", "own", image_size=12)
    random_state = torch.get_rng_state()
    features = ClassifierFeatures(tmp_path / "own.safetensors")
    assert torch.equal(torch.get_rng_state(), random_state)
    assert (features.name, features.num_features) == ("own", 7)
    assert ClassifierFeatures(tmp_path / "own.safetensors", name="mine").name == "mine"
    images = torch.randint(256, (4, 3, 12, 12)) / 127.5 - 1
    torch.testing.assert_close(features.classify(images), network(images))
    grey = images[:, :1]
    torch.testing.assert_close(features(grey), network.features(torch.cat([grey] * 3, dim=1)))


def test_files_that_are_no_weights_are_named(tmp_path):
    with pytest.raises(GANError, match=r"no feature weights at .*nowhere\.safetensors"):
        ClassifierFeatures(tmp_path / "nowhere.safetensors")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(BUNDLED.read_bytes()[:-100])
    with pytest.raises(GANError, match=r"cut\.safetensors is no whole safetensors file"):
        ClassifierFeatures(cut)
    pickled = tmp_path / "pickled.safetensors"
    pickled.write_bytes(pickle.dumps(load_file(BUNDLED)))
    with pytest.raises(GANError, match=r"pickled\.safetensors is no whole safetensors file"):
        ClassifierFeatures(pickled)
    foreign = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(3)}, foreign, metadata={"format": "pt"})
    with pytest.raises(GANError, match=r"foreign\.safetensors holds no classifier"):
        ClassifierFeatures(foreign)


def test_images_of_other_channels_are_refused():
    with pytest.raises(GANError, match="have 2 channels, but the feature network 'digits' sees 1"):
        DigitFeatures()(torch.zeros(1, 2, 16, 16))
