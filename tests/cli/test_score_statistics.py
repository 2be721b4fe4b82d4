"""Reals of which mean and covariance alone are left, as pytorch-fid keeps them."""

import pickle

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image
from scipy.linalg import sqrtm

from gan_modules import CGAN, DCGAN, GANError
from gan_modules.metrics import DigitFeatures
from gan_modules.scoring import compare, score
from gan_modules.scoring.record import read
from gan_modules.scoring.statistics import UNKNOWN, read_statistics

DIGITS = ("--features", "digits")


def images(n, seed):
    return torch.randint(256, (n, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def gaussian(samples):
    features = DigitFeatures()(samples).double().numpy()
    return features.mean(0), np.cov(features, rowvar=False)


def distance(a, b):
    (mu, sigma), (other_mu, other_sigma) = a, b
    root = sqrtm(sigma @ other_sigma).real
    return ((mu - other_mu) ** 2).sum() + np.trace(sigma + other_sigma - 2 * root)


@pytest.fixture
def place(tmp_path):
    """Statistics of real images, and a folder of fakes."""
    (tmp_path / "fakes").mkdir()
    for index, image in enumerate(images(150, 1)):
        Image.fromarray(image[0].numpy()).save(tmp_path / "fakes" / f"{index:03d}.png")
    mu, sigma = gaussian(images(200, 0))
    np.savez(tmp_path / "stats.npz", mu=mu, sigma=sigma)
    return tmp_path


def save(model, path):
    trainer = Trainer(accelerator="cpu", max_steps=0, logger=False, enable_progress_bar=False)
    trainer.strategy.connect(model)
    trainer.save_checkpoint(path)
    return path


def test_a_folder_against_statistics(place, run):
    said = run("score", "--fake=fakes", "--real=stats.npz", *DIGITS, "--out=all.jsonl")
    assert f"150 images against stats.npz ({UNKNOWN}); features: digits" in said
    [found] = read(place / "all.jsonl")
    assert found.value == pytest.approx(distance(gaussian(images(200, 0)), gaussian(images(150, 1))), rel=1e-5)
    assert (found.reals, found.split, found.n_real, found.n_fake) == ("stats.npz", None, 0, 150)
    assert found.settings["reals"] == UNKNOWN
    [of_images] = score(images(150, 1), images(200, 0), ["fid"], "digits")
    assert found.value == pytest.approx(of_images.value, rel=1e-6)
    with pytest.raises(GANError, match="These scores do not compare: they differ in settings"):
        compare(found, of_images)


@pytest.mark.parametrize("conditional", [False, True])
def test_a_checkpoint_against_statistics(conditional, place, run):
    torch.manual_seed(0)
    model = CGAN((1, 16, 16), 5, hidden_dim=8) if conditional else DCGAN((1, 16, 16), base_channels=2, latent_dim=4)
    path = save(model, place / "some.ckpt")
    run("score", "--ckpt_path", path, "--real=stats.npz", *DIGITS, "--n=80", "--seeds=0-1", "--out=all.jsonl")
    for found, seed in zip(read(place / "all.jsonl"), (0, 1), strict=True):
        labels = torch.arange(5).repeat_interleave(16) if conditional else None
        drawn = [
            model.sample(
                64,
                seed=(seed << 16) + part,
                labels=None if labels is None else [*labels, *[4] * 48][start : start + 64],
            )
            for part, start in enumerate((0, 64))
        ]
        expected = distance(gaussian(images(200, 0)), gaussian(torch.cat(drawn)[:80]))
        assert found.value == pytest.approx(expected, rel=1e-4)
    [by_hand, _] = [
        score(model, read_statistics(place / "stats.npz"), ["fid"], "digits", n=80, seed=s)[0] for s in (0, 1)
    ]
    assert by_hand.value == pytest.approx(read(place / "all.jsonl")[0].value)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--real=nowhere.npz"], "There is no file 'nowhere.npz': check the path."),
        (
            ["--real=stats.npz", "--metrics=kid"],
            "'stats.npz' is enough for fid alone, without captions: pass samples as reals.",
        ),
        (["--real=stats.npz", "--metrics", "fid", "prdc"], "'stats.npz' is enough for fid alone"),
        (["--real=stats.npz", "--floor=true"], "--real is a file of statistics: leave out --data, and --floor."),
        (["--real=stats.npz", "--ckpt_path=some.ckpt"], "'stats.npz' does not say of how many images it is: pass the"),
        (
            ["--real=other.npz"],
            "The statistics are of 7 features, and the network 'digits' gives 64: choose the network",
        ),
        (
            ["--real=adm.npz"],
            "'adm.npz' holds arr_0, and no mu and sigma: pass what pytorch-fid --save-stats writes, or",
        ),
        (["--real=flat.npz"], "'flat.npz' holds mu (64,) and sigma (64,), where (D,) and (D, D) are needed"),
        (["--real=nan.npz"], "'nan.npz' holds no covariance of finite numbers as sigma: pass other statistics."),
        (["--real=bomb.npz"], "'bomb.npz' is damaged or holds more than numbers: pass an .npz file of mu and sigma."),
        (["--real=cut.npz"], "'cut.npz' is damaged or holds more than numbers"),
        (["--real=pickled.npz"], "'pickled.npz' is damaged or holds more than numbers"),
    ],
)
def test_what_is_no_statistics_of_these(words, sentence, place, complaint):
    save(DCGAN((1, 16, 16), base_channels=2, latent_dim=4), place / "some.ckpt")
    np.savez(place / "other.npz", mu=np.zeros(7), sigma=np.eye(7))
    np.savez(place / "adm.npz", np.zeros((2, 8, 8, 3), np.uint8))
    np.savez(place / "flat.npz", mu=np.zeros(64), sigma=np.zeros(64))
    np.savez(place / "nan.npz", mu=np.full(64, np.nan), sigma=np.eye(64))
    np.savez(place / "bomb.npz", mu=np.array([Bomb(place / "exploded")]), sigma=np.eye(1))
    (place / "cut.npz").write_bytes((place / "stats.npz").read_bytes()[:-300])
    (place / "pickled.npz").write_bytes(pickle.dumps(Bomb(place / "exploded")))
    assert complaint("score", "--fake=fakes", *DIGITS, *words).startswith(sentence)
    assert not (place / "exploded").exists()


class Bomb:
    """A pickle that acts when it is read."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return open, (str(self.marker), "w")
