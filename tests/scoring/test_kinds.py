"""Points, audio, video and captioned images are scored by features of their own, held against numpy and scipy."""

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from scipy.linalg import sqrtm
from scipy.signal import stft
from torch import nn
from torch.utils.data import TensorDataset

from gan_modules import GANError
from gan_modules.callbacks import FID, Scores
from gan_modules.metrics import DigitFeatures, FrameFeatures, SpectrogramFeatures, features_for
from gan_modules.scoring import score

SHAPES = {"point": (3,), "audio": (2, 700), "video": (1, 5, 16, 16), "image": (1, 16, 16)}


class Noise(LightningModule):
    """Makes samples of any kind: a fixed linear map of the latents; a caption's mean token sets the brightness."""

    num_classes = 0

    def __init__(self, kind, vocab_size=0):
        super().__init__()
        self.kind, self.sample_shape, self.vocab_size = kind, SHAPES[kind], vocab_size
        size = int(np.prod(self.sample_shape))
        self.map = nn.Parameter(torch.randn(4, size, generator=torch.Generator().manual_seed(1)) / 4)

    def draw_latents(self, n, seed=None):
        return torch.randn(n, 4, generator=None if seed is None else torch.Generator().manual_seed(seed))

    def sample_condition(self, n, labels=None, captions=None):
        return () if captions is None else (captions,)

    @torch.no_grad()
    def sample_from(self, z, condition=(), *, truncation=1.0, ema=True):
        shift = condition[0].float().mean(1, keepdim=True) / self.vocab_size - 0.5 if condition else 0.0
        return (truncation * z @ self.map + shift).tanh().view(len(z), *self.sample_shape)

    def sample(self, n, *, labels=None, captions=None, z=None, seed=None, truncation=1.0, ema=True):
        z = self.draw_latents(n, seed) if z is None else z
        return self.sample_from(z, self.sample_condition(n, labels, captions), truncation=truncation)

    def sample_like(self, batch, *, seed=None, ema=True):
        return self.sample(len(batch[0]), captions=batch[1] if self.vocab_size else None, seed=seed)

    def validation_step(self, batch, batch_idx):
        pass


def reals(kind, n=60):
    return torch.rand(n, *SHAPES[kind], generator=torch.Generator().manual_seed(0)) * 2 - 1


def frechet(a, b):
    root = sqrtm(np.cov(a, rowvar=False) @ np.cov(b, rowvar=False)).real
    traces = np.trace(np.cov(a, rowvar=False)) + np.trace(np.cov(b, rowvar=False)) - 2 * np.trace(root)
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + traces)


def spectrogram_features(audio):
    """By scipy: a periodic Hann window of 256, hop 64, zero padding of half a window at both ends."""
    window = np.hanning(257)[:-1]
    _, _, spectrum = stft(audio.double().numpy().mean(1), window=window, nperseg=256, noverlap=192, padded=False)
    levels = np.log(np.abs(spectrum) * window.sum() + 1e-4)
    return np.concatenate([levels.mean(2), levels.std(2)], axis=1)


def as_bytes(samples):
    return torch.from_numpy(np.clip(np.rint((samples.double().numpy() + 1) * 127.5), 0, 255).astype(np.uint8))


def frame_features(videos):
    """The mean over frames, one frame at a time."""
    frames = [DigitFeatures()(as_bytes(videos)[:, :, t]) for t in range(videos.shape[2])]
    return torch.stack(frames).double().mean(0).numpy()


@pytest.mark.parametrize(
    ("kind", "features", "by_hand", "name"),
    [
        ("point", None, lambda points: points.double().numpy(), "coordinates"),
        ("audio", None, spectrogram_features, "spectrogram"),
        ("video", "digits", frame_features, "frames_digits"),
    ],
)
def test_the_frechet_distance_is_that_of_the_features(tmp_path, kind, features, by_hand, name):
    model, real = Noise(kind), reals(kind)
    fake = torch.cat([model.sample(64, seed=i) for i in range(2)])[:100]
    network = features_for(kind, SHAPES[kind], features)
    with torch.no_grad():
        assert network(fake).double().numpy() == pytest.approx(by_hand(fake), rel=1e-3, abs=1e-3)
        theirs = [network(samples).double().numpy() for samples in (real, fake)]
    found = score(model, real, ["fid", "kid", "pr"], features, n=100, cache=tmp_path)
    names = ["fd", "kd", "precision", "recall"]
    assert [one.metric for one in found] == [f"{prefix}_{name}" for prefix in names]
    assert found[0].value == pytest.approx(frechet(*theirs), rel=1e-3, abs=1e-4)
    assert (found[0].n_real, found[0].n_fake) == (60, 100)
    again = score(model, real, ["fid"], features, n=100, cache=tmp_path)  # reals from the cache
    assert again[0].value == pytest.approx(found[0].value, rel=1e-6)
    assert again[0].reals_digest == found[0].reals_digest


class Loudness(nn.Module):
    num_features, kind, name = 2, "audio", "loudness"

    def forward(self, audio):
        return audio.square().mean(2)


def test_a_network_of_ones_own_hears_audio(tmp_path):
    model, real = Noise("audio"), reals("audio")
    (found,) = score(model, real, ["fid"], Loudness(), n=60, cache=tmp_path)
    fake = model.sample(64, seed=0)[:60]
    expected = frechet(*(samples.double().square().mean(2).numpy() for samples in (real, fake)))
    assert (found.metric, found.value) == ("fd_loudness", pytest.approx(expected, rel=1e-4))


def test_networks_of_other_kinds_are_refused():
    with pytest.raises(GANError, match="'loudness' takes samples of kind audio, and these are of kind image"):
        features_for("image", (1, 16, 16), Loudness())
    with pytest.raises(GANError, match="'digits' takes samples of kind image, and these are of kind audio"):
        features_for("audio", (1, 700), "digits")
    assert isinstance(features_for("video", SHAPES["video"], "digits"), FrameFeatures)
    assert SpectrogramFeatures()(torch.zeros(2, 1, 3)).isfinite().all()  # shorter than a window


@pytest.mark.parametrize("times", [1, 2])
def test_captioned_images_have_the_captions_of_the_reals(tmp_path, times):
    """Reals with two captions, 45 of one and 15 of the other: so are the samples, whatever the order."""
    model, real = Noise("image", vocab_size=10), reals("image")
    tokens = torch.tensor([[9, 9, 8]] * 45 + [[0, 1, 0]] * 15)[torch.randperm(60)]
    (found,) = score(model, zip(real.split(25), tokens.split(25), strict=True), ["fid"], "digits", n=60 * times)
    captions = torch.tensor([[0, 1, 0]] * 15 * times + [[9, 9, 8]] * 45 * times)
    padded = torch.cat([captions, captions[-1:].expand(128 - len(captions), -1)]).split(64)
    fake = torch.cat([model.sample(64, captions=part, seed=i) for i, part in enumerate(padded)])[: len(captions)]
    network = DigitFeatures()
    expected = frechet(*(network(as_bytes(samples)).double().numpy() for samples in (real, fake)))
    assert found.value == pytest.approx(expected, rel=1e-3)
    with pytest.raises(GANError, match="the reals come without captions"):
        score(model, real, ["fid"], "digits")


@pytest.mark.parametrize("kind", ["point", "audio", "video", "image"])
def test_the_callbacks_score_every_kind(tmp_path, kind):
    columns = (reals(kind), torch.randint(10, (60, 3))) if kind == "image" else (reals(kind),)
    features = DigitFeatures() if kind in ("image", "video") else None
    callbacks = [FID(features), Scores(["kid"], features)]
    data = LightningDataModule.from_datasets(val_dataset=TensorDataset(*columns), batch_size=25)
    trainer = Trainer(callbacks=callbacks, default_root_dir=tmp_path, logger=False, accelerator="cpu")
    model = Noise(kind, vocab_size=10 if kind == "image" else 0)
    (result,) = trainer.validate(model, data, verbose=False)
    name = {"point": "coordinates", "audio": "spectrogram", "video": "frames_digits", "image": "digits"}[kind]
    batch = columns[0] if kind != "image" else [columns]
    (expected,) = score(model, batch, ["fid"], features)
    assert result[f"val/fd_{name}"] == pytest.approx(expected.value, rel=1e-4, abs=1e-5)
    assert f"val/kd_{name}" in result


def test_modes_of_points_need_the_mixture(tmp_path):
    with pytest.raises(GANError, match="does not know the mixture whose modes to count"):
        Trainer(callbacks=Scores(["modes"]), logger=False, accelerator="cpu").validate(Noise("point"), [])
