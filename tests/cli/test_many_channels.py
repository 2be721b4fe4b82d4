"""Images of as many channels as no image file has: commands write arrays, or refuse before their work."""

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image, ImageSequence

from gan_modules import DCGAN, Pix2Pix, StyleGAN2
from gan_modules.tools import project

NARROW = {"latent_dim": 8, "style_dim": 8, "channel_max": 8}
REFUSED = (
    "{} works on image files, which have 1, 3 or 4 channels, and this model's images have {}: pass tensors to the "
    "function of that name in Python."
)


def save(model, path):
    trainer = Trainer(accelerator="cpu", max_steps=0, logger=False, enable_progress_bar=False)
    trainer.strategy.connect(model)
    trainer.save_checkpoint(path)
    return path


@pytest.fixture
def colours(tmp_path):
    """A folder of ordinary images."""
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (32, 32), "teal").save(tmp_path / "in" / name)
    return "in"


@pytest.mark.parametrize("channels", [5, 7])
def test_samples_are_arrays(channels, run, tmp_path):
    torch.manual_seed(0)
    model = DCGAN((channels, 8, 8), base_channels=2, latent_dim=4)
    path = save(model, tmp_path / "many.ckpt")
    run("sample", "--ckpt_path", path, "--n=3", "--seed=2", "--out=folder")
    written = [np.load(file) for file in sorted((tmp_path / "folder").iterdir())]
    assert np.abs(np.stack(written) - model.sample(3, seed=2).numpy()).max() < 1e-6
    run("sample", "--ckpt_path", path, "--n=1", "--seed=2", "--out=grid.png")
    shown = np.asarray(Image.open(tmp_path / "grid.png")).astype(float)[::4, ::4].transpose(2, 0, 1)
    assert np.abs(shown - (model.sample(1, seed=2)[0, :3].numpy() + 1) * 127.5).max() < 0.51
    run("interpolate", "--ckpt_path", path, "--seeds=0-1", "--steps=2", "--out=movie.gif")
    with Image.open(tmp_path / "movie.gif") as movie:
        assert len(list(ImageSequence.Iterator(movie))) == 4


@pytest.mark.parametrize(("shape", "target"), [((5, 32, 32), (3, 32, 32)), ((3, 32, 32), (2, 32, 32))])
def test_translate_refuses_before_it_reads_an_image(shape, target, colours, complaint, tmp_path):
    path = save(Pix2Pix(shape, target, base_channels=1, discriminator_channels=1), tmp_path / "many.ckpt")
    said = complaint("translate", "--ckpt_path", path, "--input", colours, "--output=out")
    assert said == REFUSED.format("translate", next(n for n in (shape[0], target[0]) if n not in (1, 3, 4)))
    assert not (tmp_path / "out").exists()


def test_project_and_score_refuse(colours, complaint, tmp_path):
    path = save(StyleGAN2((5, 8, 8), **NARROW), tmp_path / "many.ckpt")
    words = ("project", "--ckpt_path", path, "--image=in/a.png", "--lpips=false")
    assert complaint(*words) == REFUSED.format("project", 5)
    words = ("score", "--ckpt_path", path, "--real", colours, "--features=digits")
    assert complaint(*words) == REFUSED.format("score", 5)


def test_a_projection_is_saved(tmp_path):
    torch.manual_seed(0)
    model = StyleGAN2((5, 8, 8), **NARROW)
    found = project(
        model, model.sample(1, seed=3)[0], steps=2, distance=lambda a, b: (a - b).square().flatten(1).sum(1)
    )
    found.save(tmp_path)
    assert (np.load(tmp_path / "projected.npy") == found.image.numpy()).all()
    assert (np.load(tmp_path / "target.npy") == found.target.numpy()).all()
    assert {file.suffix for file in tmp_path.iterdir()} == {".npy", ".png", ".safetensors"}
