import pickle
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from scipy.linalg import sqrtm
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import gan_modules.metrics
from datamodules import DigitsDataModule, ToyDataModule
from gan_modules import CGAN, GAN, GANError, VanillaGAN
from gan_modules.callbacks import FID
from gan_modules.metrics import DigitFeatures

pytestmark = pytest.mark.filterwarnings("ignore::scipy.linalg.LinAlgWarning")  # untrained fakes are all alike

FILE = "weights-inception-2015-12-05-6726825d.pth"


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def vanilla(**options):
    torch.manual_seed(0)
    return VanillaGAN(image_shape=(1, 16, 16), latent_dim=8, hidden_dim=32, **options)


def trainer(tmp_path, **options):
    quiet = {"enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    return Trainer(default_root_dir=tmp_path, accelerator="cpu", logger=False, **{**quiet, **options})


def as_bytes(images):
    return np.clip(np.rint((images.double().numpy() + 1) * 127.5), 0, 255).astype(np.uint8)


def features(images):
    with torch.no_grad():
        return DigitFeatures()(torch.from_numpy(images)).double().numpy()


def frechet(a, b):
    """The distance as in arXiv:1706.08500, by numpy and scipy alone."""
    root = sqrtm(np.cov(a, rowvar=False) @ np.cov(b, rowvar=False)).real
    traces = np.trace(np.cov(a, rowvar=False)) + np.trace(np.cov(b, rowvar=False)) - 2 * np.trace(root)
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + traces)


def real_images():
    return torch.cat([images for images, _ in DigitsDataModule().val_dataloader()]).numpy()


def fake_images(model, n=359, batch_size=64, seed=0, labels=None):
    def batch(i):
        chosen = None if labels is None else labels[i * batch_size : (i + 1) * batch_size]
        return model.sample(batch_size if chosen is None else len(chosen), labels=chosen, seed=(seed << 16) + i)

    return as_bytes(torch.cat([batch(i) for i in range(-(-n // batch_size))])[:n])


def distance(model, **how):
    return frechet(features(real_images()), features(fake_images(model, **how)))


@pytest.mark.parametrize("how", [{}, {"num_samples": 100, "batch_size": 32, "seed": 5}])
def test_score_is_the_frechet_distance_of_the_same_images(tmp_path, how):
    model = vanilla()
    (result,) = trainer(tmp_path, callbacks=FID(DigitFeatures(), **how)).validate(
        model, DigitsDataModule(), verbose=False
    )
    by_hand = {"n": how.pop("num_samples", 359), **how}
    assert result == {"val/fd_digits": pytest.approx(distance(model, **by_hand), rel=1e-4)}


def test_test_stage_has_its_own_name(tmp_path):
    model = vanilla()
    (result,) = trainer(tmp_path, callbacks=FID(DigitFeatures())).test(model, DigitsDataModule(), verbose=False)
    assert result == {"test/fd_digits": pytest.approx(distance(model), rel=1e-4)}


@pytest.mark.parametrize("times", [1, 2])
def test_fakes_have_the_reals_labels(tmp_path, times):
    """Of reals with 140 threes and 60 sevens, as many fakes, or twice as many."""
    images, labels = (torch.cat(parts) for parts in zip(*DigitsDataModule().train_dataloader(), strict=True))
    chosen = torch.cat([(labels == 7).nonzero()[:60], (labels == 3).nonzero()[:140]]).flatten()
    loader = DataLoader(TensorDataset(images[chosen] / 127.5 - 1, labels[chosen]), batch_size=77)
    torch.manual_seed(0)
    model = CGAN(image_shape=(1, 16, 16), latent_dim=8, hidden_dim=32, ema_half_life=0)
    with torch.no_grad():  # let the untrained generator heed its labels
        model.generator.embedding.weight.mul_(20)
    run = trainer(tmp_path, callbacks=FID(DigitFeatures(), num_samples=None if times == 1 else times * 200))
    (result,) = run.validate(model, loader, verbose=False)

    def expected(counts):
        fakes = fake_images(model, n=200 * times, labels=torch.arange(10).repeat_interleave(torch.tensor(counts)))
        return frechet(features(images[chosen].numpy()), features(fakes))

    score = expected([0, 0, 0, 140 * times, 0, 0, 0, 60 * times, 0, 0])
    assert result == {"val/fd_digits": pytest.approx(score, rel=1e-4)}
    assert abs(expected([20 * times] * 10) - score) > 0.005 * score
    assert abs(expected([0, 0, 0, 100 * times, 0, 0, 0, 100 * times, 0, 0]) - score) > 0.005 * score


class CountingFeatures(DigitFeatures):
    """Digit features that count what passes through them."""

    def __init__(self):
        super().__init__()
        self.seen = 0

    def forward(self, images):
        self.seen += len(images)
        return super().forward(images)


class Scores(Callback):
    """All scores of a fit."""

    def __init__(self):
        self.values = []

    def on_validation_end(self, trainer, pl_module):
        if not trainer.sanity_checking:
            self.values.append(trainer.callback_metrics["val/fd_digits"].item())


def test_reals_pass_once_a_fit_and_the_best_checkpoint_is_found(tmp_path):
    model, counting, scores = vanilla(lr_g=5e-3, lr_d=5e-3), CountingFeatures(), Scores()
    best = ModelCheckpoint(tmp_path, monitor="val/fd_digits", filename="best")
    fit = trainer(tmp_path, max_epochs=3, callbacks=[FID(counting), scores, best], enable_checkpointing=True)
    fit.fit(model, DigitsDataModule())
    assert len(scores.values) == 3
    assert counting.seen == 359 + 3 * 359
    assert scores.values[-1] == pytest.approx(distance(model), rel=1e-4)
    assert best.best_model_score.item() == min(scores.values) < max(scores.values)
    assert distance(GAN.load_from_checkpoint(best.best_model_path)) == pytest.approx(min(scores.values), rel=1e-4)
    saved = torch.load(best.best_model_path, weights_only=False)
    assert set(saved["state_dict"]) == set(vanilla().state_dict())
    fit.validate(model, DigitsDataModule(val_fraction=0.1), verbose=False)  # other reals: nothing is left over
    assert counting.seen == 359 + 3 * 359 + 2 * 180


def test_training_is_the_same_bit_for_bit(tmp_path):
    models = []
    for callbacks in ([], [FID(DigitFeatures())]):
        torch.manual_seed(1)
        model = vanilla()
        trainer(tmp_path, max_epochs=2, callbacks=callbacks).fit(model, DigitsDataModule())
        models.append(model.state_dict())
    assert all(torch.equal(models[0][key], models[1][key]) for key in models[0])


def test_few_images_are_warned_of(tmp_path):
    run = trainer(tmp_path, callbacks=FID(DigitFeatures(), num_samples=64))
    with pytest.warns(UserWarning, match="fd_digits of 64 samples in 64 dimensions is biased upwards"):
        run.validate(vanilla(), DigitsDataModule(), verbose=False)


def test_one_real_is_too_few(tmp_path):
    run = trainer(tmp_path, callbacks=FID(DigitFeatures()))
    with pytest.raises(GANError, match="at least two real samples, and the loader has 1"):
        run.validate(vanilla(), DigitsDataModule(val_fraction=1e-4), verbose=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_samples": 1}, "at least two samples"),
        ({"feature": nn.Flatten()}, "Flatten needs an attribute num_features"),
        ({"feature": DigitFeatures(), "weights": "here.pth"}, "weights are Inception's"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(GANError, match=message):
        FID(**arguments)


def test_a_feature_network_without_a_name_goes_by_its_class():
    class Pixels(nn.Flatten):
        num_features = 256

    assert FID(Pixels()).features.name == "pixels"


def test_points_and_odd_channels_are_refused_before_training(tmp_path):
    points = VanillaGAN(point_shape=(2,), hidden_dim=8)
    with pytest.raises(GANError, match=r"'digits' takes samples of kind image, and these are of kind point"):
        trainer(tmp_path, max_steps=1, callbacks=FID(DigitFeatures())).fit(points, ToyDataModule())
    two_channels = VanillaGAN(image_shape=(2, 16, 16), hidden_dim=8)
    with pytest.raises(GANError, match="Inception takes grey or RGB"):
        trainer(tmp_path, callbacks=FID()).validate(two_channels, [])


@pytest.mark.parametrize(
    "feature", ["gan_modules.metrics.DigitFeatures", "gan_modules.metrics.ClassifierFeatures", None]
)
def test_a_config_file_can_ask_for_it(tmp_path, feature):
    digits = Path(gan_modules.metrics.__file__).with_name("digits.safetensors")
    lines = ["callback:", "  class_path: gan_modules.callbacks.FID", "  init_args:", "    num_samples: 500"]
    if feature:
        lines += ["    feature:", f"      class_path: {feature}"]
        if feature.endswith("ClassifierFeatures"):
            lines += ["      init_args:", f"        weights: {digits}", "        name: mine"]
    (tmp_path / "config.yaml").write_text("\n".join(lines))
    parser = ArgumentParser()
    parser.add_argument("--callback", type=Callback)
    config = parser.parse_path(tmp_path / "config.yaml")
    callback = parser.instantiate_classes(config).callback
    again = parser.instantiate_classes(parser.parse_string(parser.dump(config))).callback
    for fid in (callback, again):
        assert (type(fid), fid.num_samples) == (FID, 500)
        assert getattr(fid.features, "name", None) == {"D": "digits", "C": "mine", None: None}[feature and feature[20]]


# ---- Inception's weights ---------------------------------------------------------------------------------------


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """No network, and an empty torch.hub folder, which is returned."""

    def refuse(*args, **kwargs):
        raise OSError("Network is unreachable")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    return tmp_path / "hub" / "checkpoints"


def test_weights_that_cannot_be_downloaded_stop_the_run_before_training(tmp_path, offline):
    model = vanilla()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    run = trainer(tmp_path, max_steps=3, callbacks=FID())
    with pytest.raises(GANError) as caught:
        run.fit(model, DigitsDataModule())
    sentence = str(caught.value)
    assert FILE in sentence
    assert str(offline) in sentence
    assert "weights=..." in sentence
    assert "\n" not in sentence
    assert run.global_step == 0
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


class Bomb:
    """A pickle that acts when it is read."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return open, (str(self.marker), "w")


def test_files_that_are_no_inception_weights_are_named_and_never_executed(tmp_path, offline):
    def message(weights):
        with pytest.raises(GANError) as caught:
            trainer(tmp_path, callbacks=FID(weights=weights)).validate(vanilla(), DigitsDataModule())
        assert FILE in str(caught.value)
        return str(caught.value)

    assert "There is no file" in message(tmp_path / "nowhere.pth")
    bomb, marker = tmp_path / "bomb.pth", tmp_path / "exploded"
    bomb.write_bytes(pickle.dumps(Bomb(marker)))
    assert f"{bomb} is damaged or holds more than weights" in message(bomb)
    assert not marker.exists()
    others = tmp_path / "others.pth"
    torch.save(nn.Linear(2, 2).state_dict(), others)
    assert f"{others} holds other weights" in message(str(others))
    offline.mkdir(parents=True)
    (offline / FILE).write_bytes(others.read_bytes()[:-40])  # a download that was cut short
    assert f"{offline / FILE} is damaged or holds more than weights" in message(None)


def test_inception_score_follows_torch_fidelity(tmp_path, offline, monkeypatch):
    """Weights from a file; features by torch-fidelity itself, of rounded RGB bytes with TensorFlow's resize."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    torch.manual_seed(0)
    with monkeypatch.context() as patch:  # random weights, as the published ones are a download
        patch.setattr("torch_fidelity.feature_extractor_inceptionv3.load_state_dict_from_url", lambda *a, **k: {})
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda *a, **k: None)
        extractor = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])
    for layer in extractor.modules():
        if isinstance(layer, nn.Conv2d):  # the default initialisation would let every image fade to nothing
            nn.init.kaiming_normal_(layer.weight)
    torch.save(extractor.state_dict(), tmp_path / "inception.pth")
    model, data = vanilla(), DigitsDataModule(val_fraction=6 / 1797)
    callback = FID(weights=tmp_path / "inception.pth", num_samples=5)
    random_states = []
    for callbacks in ([], [callback]):
        torch.manual_seed(0)
        (result,) = trainer(tmp_path, callbacks=callbacks).validate(model, data, verbose=False)
        random_states.append(torch.get_rng_state())
    assert torch.equal(*random_states)

    reals = next(iter(data.val_dataloader()))[0].numpy()
    fakes = fake_images(model, n=5)
    a, b = (extractor(torch.from_numpy(x).repeat(1, 3, 1, 1))[0].double().numpy() for x in (reals, fakes))
    # for a few images tr (S T)^½ is the nuclear norm of A Bᵀ, where S = Aᵀ A and T = Bᵀ B
    centred = [(x - x.mean(0)) / np.sqrt(len(x) - 1) for x in (a, b)]
    nuclear = np.linalg.norm(centred[0] @ centred[1].T, "nuc")
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + sum((x**2).sum() for x in centred) - 2 * nuclear
    assert expected > 1
    assert result == {"val/fid": pytest.approx(expected, rel=1e-4)}
