"""The command line on pairs: the data links both shapes, and translate keeps names and sizes."""

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image

from gan_modules import CGAN, GAN, Pix2Pix
from gan_modules.cli import main
from gan_modules.visuals.pictures import to_uint8

CONFIGS = [
    path
    for path in (Path(__file__).parents[2] / "examples" / "configs").glob("*.yaml")
    if path.stem.startswith(("pix2pix", "cyclegan"))
]


class Done(NamedTuple):
    status: int
    stdout: str
    stderr: str


def gan_modules(*arguments, cwd):
    """The command line in this process, where starting costs nothing."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(cwd)
        patch.setattr(sys, "argv", ["gan-modules", *map(str, arguments)])
        try:
            main()
            status = 0
        except SystemExit as end:
            status = end.code
    return Done(status, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A CycleGAN from grey 16×24 to RGB 32×16, trained for a moment by the command line."""
    folder = tmp_path_factory.mktemp("cli")
    random = np.random.default_rng(0)
    for part in ("trainA", "trainB", "testA", "testB"):
        (folder / "data" / part).mkdir(parents=True)
        for number in range(4):
            pixels = random.integers(0, 256, (20, 30, 3), np.uint8)
            Image.fromarray(pixels).save(folder / "data" / part / f"{number}.png")
    done = gan_modules(
        "fit", "--model", "CycleGAN", "--model.generator", "resnet_1", "--model.base_channels", 2,
        "--model.discriminator_channels", 2, "--model.patch_layers", 1, "--model.identity_weight", 0,
        "--data", "UnpairedImagesDataModule", "--data.folder", folder / "data", "--data.image_size", "[16, 24]",
        "--data.target_size", "[32, 16]", "--data.channels", 1, "--data.target_channels", 3, "--data.num_workers", 0,
        "--trainer.max_steps", 3, "--trainer.accelerator", "cpu", "--trainer.callbacks+", "TranslationGrid",
        "--trainer.callbacks+", "ModelCheckpoint",
        "--trainer.callbacks.save_last", "true",
        "--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", folder / "runs", cwd=folder,
    )  # fmt: skip
    assert done.status == 0, done.stderr
    (checkpoint,) = folder.rglob("last.ckpt")
    assert f"gan-modules translate --input FOLDER --output FOLDER --ckpt_path {checkpoint}" in done.stdout
    return folder, checkpoint


def test_the_data_supplies_both_shapes(trained):
    folder, checkpoint = trained
    model = GAN.load_from_checkpoint(checkpoint)
    assert (model.image_shape, model.target_shape) == ((1, 16, 24), (3, 32, 16))
    assert list(folder.rglob("samples/BtoA_step_00000000.png"))
    config = next(folder.rglob("config.yaml"))
    again = gan_modules("fit", "--config", config, "--trainer.max_steps", 1, cwd=folder)
    assert again.status == 0, again.stderr
    clash = gan_modules("fit", "--config", config, "--model.target_shape", "[3, 8, 8]", cwd=folder)
    assert clash.status == 2
    assert "The data supplies target_shape" in clash.stderr


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_translate_keeps_names_and_sizes(trained, tmp_path, direction):
    _, checkpoint = trained
    model = GAN.load_from_checkpoint(checkpoint)
    channels, height, width = model.image_shape if direction == "AtoB" else model.target_shape
    random = np.random.default_rng(1)
    files = {"a.png": (width, height), "deep/er/b.jpg": (50, 31), "deep/c.bmp": (7, 90)}
    for name, size in files.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 256, (*size[::-1], 3)[: 2 if channels == 1 else 3], np.uint8)
        Image.fromarray(pixels).save(tmp_path / "in" / name)
    (tmp_path / "in" / "notes.txt").touch()
    done = gan_modules(
        "translate", "--ckpt_path", checkpoint, "--input", tmp_path / "in", "--output", tmp_path / "out",
        "--direction", direction, "--batch_size", 2, cwd=tmp_path,
    )  # fmt: skip
    assert done.status == 0, done.stderr
    assert "3/3" in done.stderr
    written = {str(p.relative_to(tmp_path / "out")): Image.open(p).size for p in (tmp_path / "out").rglob("*.*")}
    assert written == files
    assert done.stdout.endswith(f"3 translations: {tmp_path / 'out'}/\n")
    pixels = np.asarray(Image.open(tmp_path / "in/a.png")).reshape(height, width, channels).copy()
    expected = model.translate(torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 127.5 - 1, direction)
    ours = np.asarray(Image.open(tmp_path / "out/a.png")).reshape(height, width, -1).astype(int)
    assert abs(ours - to_uint8(expected)[0].permute(1, 2, 0).int().numpy()).max() <= 1


class Larger(Pix2Pix):
    """Answers three times as high and twice as wide."""

    def translate(self, images, *how, **more):
        return super().translate(images, *how, **more).repeat_interleave(3, -2).repeat_interleave(2, -1)


def test_a_model_that_changes_sizes_keeps_its_own(tmp_path):
    model = Larger((3, 32, 32), base_channels=2, discriminator_channels=2, patch_layers=1)
    trainer = Trainer(accelerator="cpu", max_steps=0, logger=False, enable_progress_bar=False)
    trainer.strategy.connect(model)
    trainer.save_checkpoint(tmp_path / "larger.ckpt")
    (tmp_path / "in").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "in" / "a.png")
    Image.fromarray(pixels[:20, :9]).save(tmp_path / "in" / "b.png")
    words = ("translate", "--ckpt_path", "larger.ckpt", "--input", "in", "--output", "out", "--batch_size", 1)
    done = gan_modules(*words, cwd=tmp_path)
    assert done.status == 0, done.stderr
    assert "2 translations: out/, each 2 times as wide and 3 times as high as its image\n" in done.stdout
    expected = model.translate(torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 127.5 - 1)
    with Image.open(tmp_path / "out" / "a.png") as file:
        assert np.abs(np.asarray(file) - (expected[0].permute(1, 2, 0).numpy() + 1) * 127.5).max() < 0.51
    assert Image.open(tmp_path / "out" / "b.png").size == (2 * 9, 3 * 20)


def test_translate_says_what_is_wrong(trained, tmp_path):
    folder, checkpoint = trained
    latent = Trainer(accelerator="cpu", max_steps=0, logger=False, enable_progress_bar=False)
    latent.strategy.connect(CGAN(image_shape=(1, 8, 8)))
    latent.save_checkpoint(tmp_path / "latent.ckpt")
    (tmp_path / "empty").mkdir()
    for arguments, sentence in [
        (("nowhere", "out", checkpoint), "There is no image and no folder 'nowhere'"),
        (("empty", "out", checkpoint), "'empty' holds no image"),
        ((folder / "data", folder / "data" / "out", checkpoint), "lie in one another"),
        (
            (folder / "data", "out", tmp_path / "latent.ckpt"),
            "translate needs a model that translates images, and CGAN is none",
        ),
        ((folder / "data", "out", "missing.ckpt"), "There is no checkpoint at 'missing.ckpt'"),
    ]:
        source, target, ckpt = arguments
        done = gan_modules("translate", "--input", source, "--output", target, "--ckpt_path", ckpt, cwd=tmp_path)
        assert (done.status, done.stderr.count("\n")) == (2, 1), done.stderr
        assert sentence in done.stderr
    words = ("translate", "--input", folder / "data", "--output", "out", "--ckpt_path", checkpoint)
    for seed in (2**64, -1):
        done = gan_modules(*words, "--seed", seed, cwd=tmp_path)
        assert (done.status, done.stderr) == (2, f"error: seed={seed} must be from 0 to {2**64 - 1}.\n")


def make_noise(folder, size=(32, 32), count=5):
    folder.mkdir(parents=True)
    random = np.random.default_rng(len(str(folder)))
    for number in range(count):
        Image.fromarray(random.integers(0, 256, (*size, 3), np.uint8)).save(folder / f"{number}.png")


@pytest.mark.parametrize("name", sorted(path.stem for path in CONFIGS))
def test_a_configuration_of_two_sides_trains(name, tmp_path):
    for folder in ("emoji/google", "emoji/twitter", "emoji/trainA", "emoji/trainB"):
        make_noise(tmp_path / "data" / folder)
    for part in ("train", "val", "test"):
        make_noise(tmp_path / "data" / "facades" / part, (32, 64))
    for part in ("trainA", "trainB", "testA", "testB"):
        make_noise(tmp_path / "data" / "horse2zebra" / part)
    (config,) = [path for path in CONFIGS if path.stem == name]
    kept = ["TranslationGrid", "PairScores"] if name.startswith("pix2pix") else ["TranslationGrid"]
    callbacks = [word for callback in kept for word in ("--trainer.callbacks+", callback)]  # FID would fetch Inception
    done = gan_modules(
        "fit", "--config", config, "--model.base_channels", 1, "--model.discriminator_channels", 1,
        "--data.num_workers", 0, "--data.batch_size", 2, "--trainer.accelerator", "cpu", "--trainer.max_steps", 1,
        "--trainer.limit_val_batches", 1, "--trainer.callbacks", "null", *callbacks, cwd=tmp_path,
    )  # fmt: skip
    assert done.status == 0, done.stderr
    assert "Played 1 steps" in done.stdout
    pictures = {path.name.partition("_")[0] for path in tmp_path.rglob("samples/*.png")}
    assert pictures == ({"AtoB"} if name.startswith("pix2pix") else {"AtoB", "BtoA"})
