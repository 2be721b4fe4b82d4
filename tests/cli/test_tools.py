"""What the command line does with a trained checkpoint: its pictures and movies, opened again."""

import re
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageSequence
from safetensors.torch import load_file

from gan_modules import GAN
from gan_modules.cli import main
from gan_modules.interop import load_nvidia
from gan_modules.tools import draw, interpolate, mix

NO_STYLES = (
    "{0} needs a model with styles, such as StyleGAN, and DCGAN is none, for want of from_styles, to_styles, "
    "truncation_cutoff: leave {0} out."
)
LAST = 2**64 - 1  # seed that torch takes
TRAINED = {
    "DCGAN": ["--model.base_channels=2", "--model.latent_dim=4"],
    "CGAN": ["--model.hidden_dim=8"],
    "StyleGAN2": [f"--model.{name}=8" for name in ("latent_dim", "style_dim", "channel_max")],
    "VanillaGAN": ["--model.hidden_dim=8"],
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Where a model is that the command line has trained for a moment, on digits or on points; made when asked for."""
    made = {}

    def checkpoint(name):
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            data = "ToyDataModule" if name == "VanillaGAN" else "DigitsDataModule"
            words = ["fit", "--seed_everything=0", f"--model={name}", *TRAINED[name], f"--data={data}"]
            words += [
                "--data.batch_size=8",
                "--trainer.max_steps=2",
                "--trainer.limit_val_batches=0",
                "--trainer.accelerator=cpu",
            ]
            words += [f"--trainer.default_root_dir={folder}", "--trainer.enable_model_summary=false"]
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(sys, "argv", ["gan-modules", *words])
                main()
            (made[name],) = folder.glob("**/*.ckpt")
        return made[name]

    return checkpoint


def grey(images):
    """What pixels images of one channel should have."""
    return np.clip((images[:, 0].double().numpy() + 1) * 127.5, 0, 255)


def test_sample_by_seeds(checkpoint, run, tmp_path):
    path = checkpoint("DCGAN")
    model = GAN.load_from_checkpoint(path)
    assert "5 samples: folder/" in run("sample", "--ckpt_path", path, "--seeds=3,7-9,12", "--out=folder")
    files = sorted((tmp_path / "folder").iterdir())
    assert [file.name for file in files] == [f"seed{seed:06d}.png" for seed in (3, 7, 8, 9, 12)]
    pixels = np.stack([np.asarray(Image.open(file)) for file in files])
    assert np.abs(pixels - grey(draw(model, [3, 7, 8, 9, 12]))).max() < 0.51
    run("sample", "--ckpt_path", path, "--seeds=8", "--out=alone", "--truncation=0.5")
    alone = np.asarray(Image.open(tmp_path / "alone" / "seed000008.png"))
    assert np.abs(alone - grey(model.sample(1, seed=8, truncation=0.5))[0]).max() < 0.51
    run("sample", "--ckpt_path", path, "--seeds", "3", "7-9", "12", "--out=spaced")
    for file in sorted((tmp_path / "folder").iterdir()):
        assert file.read_bytes() == (tmp_path / "spaced" / file.name).read_bytes()
    assert "36 samples: grid.png" in run("sample", "--ckpt_path", path, "--seeds", "0-35", "--out", "grid.png")
    assert Image.open(tmp_path / "grid.png").size == (6 * 34 + 2, 6 * 34 + 2)


@pytest.mark.parametrize("words", [["--class_idx=2"], ["--class_idx", "2"], ["--labels=2"], ["--class_idx=[2,2]"]])
def test_sample_a_class(words, checkpoint, run, tmp_path):
    path = checkpoint("CGAN")
    run("sample", "--ckpt_path", path, "--seeds=4-5", *words, "--out=folder")
    model = GAN.load_from_checkpoint(path)
    for seed in (4, 5):
        pixels = np.asarray(Image.open(tmp_path / "folder" / f"seed{seed:06d}.png"))
        assert np.abs(pixels - grey(model.sample(1, seed=seed, labels=2))[0]).max() < 0.51


def test_sample_of_more_than_one_batch_is_one_draw(checkpoint, run, tmp_path):
    path = checkpoint("DCGAN")
    run("sample", "--ckpt_path", path, "--n=70", "--seed=3", "--out=folder")
    pixels = np.stack([np.asarray(Image.open(file)) for file in sorted((tmp_path / "folder").iterdir())])
    assert np.abs(pixels - grey(GAN.load_from_checkpoint(path).sample(70, seed=3))).max() < 0.51


def test_sample_from_nvidias_file(run, tmp_path):
    path = Path(__file__).parents[1] / "golden" / "stylegan2_r32.pkl"
    model = load_nvidia(path)
    run("sample", "--ckpt_path", path, "--seeds=1-2", "--out=folder")
    pixels = np.stack([np.asarray(Image.open(file)) for file in sorted((tmp_path / "folder").iterdir())])
    expected = np.clip((draw(model, [1, 2]).permute(0, 2, 3, 1).double().numpy() + 1) * 127.5, 0, 255)
    assert np.abs(pixels - expected).max() < 0.51


def test_sample_points(checkpoint, run, tmp_path):
    path = checkpoint("VanillaGAN")
    expected = GAN.load_from_checkpoint(path).sample(70, seed=3).numpy()
    assert "70 samples: points.npy" in run("sample", "--ckpt_path", path, "--n=70", "--seed=3", "--out=points.npy")
    assert (np.load(tmp_path / "points.npy") == expected).all()
    run("sample", "--ckpt_path", path, "--n=70", "--seed=3", "--out=folder")
    assert [file.name for file in (tmp_path / "folder").iterdir()] == ["samples.npy"]
    assert (np.load(tmp_path / "folder" / "samples.npy") == expected).all()
    run("sample", "--ckpt_path", path, "--n=70", "--seed=3", "--out=scatter.png")
    picture = np.asarray(Image.open(tmp_path / "scatter.png")).astype(int)
    row, column = np.nonzero(picture.max(2) - picture.min(2) > 30)
    extent = 1.25 * np.abs(expected).max()
    assert len(row)
    # a dot is five pixels wide
    assert abs((column.max() - 2 + 0.5) / 256 - 1 - expected[:, 0].max() / extent) < 1 / 200
    assert abs(1 - (row.min() + 2 + 0.5) / 256 - expected[:, 1].max() / extent) < 1 / 200


def test_interpolate_makes_a_gif(checkpoint, run, tmp_path):
    path = checkpoint("DCGAN")
    words = ["--seeds=0-3", "--cells=2", "--steps=3", "--fps=20", "--out=movie.gif"]
    assert "6 frames: movie.gif" in run("interpolate", "--ckpt_path", path, *words)
    expected = list(interpolate(GAN.load_from_checkpoint(path), range(4), cells=2, steps=3))
    with Image.open(tmp_path / "movie.gif") as movie:
        frames = [np.asarray(frame.convert("L")) for frame in ImageSequence.Iterator(movie)]
        assert movie.info["loop"] == 0
    assert len(frames) == 6
    for frame, images in zip(frames, expected, strict=True):
        for cell, image in enumerate(grey(images)):  # 16 pixels, each eight times, two between
            left = 2 + cell * 130
            assert np.abs(frame[2:130, left : left + 128][4::8, 4::8] - image).max() < 0.51


def test_interpolate_makes_an_mp4(checkpoint, run, tmp_path):
    path = checkpoint("StyleGAN2")
    run("interpolate", "--ckpt_path", path, "--seeds=0-1", "--steps=4", "--out=deep/movie.mp4", "--truncation=0.7")
    expected = list(interpolate(GAN.load_from_checkpoint(path), range(2), steps=4, truncation=0.7))
    with av.open(str(tmp_path / "deep" / "movie.mp4")) as movie:
        frames = [frame.to_ndarray(format="gray") for frame in movie.decode(video=0)]
    assert len(frames) == 8
    for frame, images in zip(frames, expected, strict=True):
        shown = frame.reshape(16, 8, 16, 8)[:, 2:6, :, 2:6].mean(axis=(1, 3))
        assert np.abs(shown - grey(images)[0]).mean() < 6


def test_mix_makes_a_sheet_for_each_range(checkpoint, run, tmp_path):
    path = checkpoint("StyleGAN2")
    words = ["--rows=1-2", "--columns=3,5", "--styles=[0-1, 3]", "--out=sheet.png", "--truncation=0.8"]
    assert "2 sheets of 2 by 2 mixtures: sheet.png" in run("mix", "--ckpt_path", path, *words)
    model = GAN.load_from_checkpoint(path)
    sheets = [mix(model, [1, 2], [3, 5], styles=styles, truncation=0.8).picture() for styles in ([0, 1], [3])]
    whole = np.asarray(Image.open(tmp_path / "sheet.png"))
    for part, sheet in zip(np.split(whole, 2), sheets, strict=True):
        assert (part[:, : sheet.width] == np.asarray(sheet)).all()


def test_project_finds_a_sample_again(checkpoint, run, tmp_path):
    path = checkpoint("StyleGAN2")
    words = ["--ckpt_path", path, "--class_idx=2"]
    run("sample", *words, "--seeds=4", "--truncation=0.5", "--out=folder")
    image = tmp_path / "folder" / "seed000004.png"
    said = run("project", *words, "--image", image, "--steps=80", "--lpips=false", "--out=found")
    after, before = (float(number) for number in re.findall(r"\d[\d.e-]*\d", said)[:2])
    assert after < before / 10
    ours, theirs, found = (
        np.asarray(Image.open(file)).astype(float) / 127.5
        for file in (image, tmp_path / "found" / "target.png", tmp_path / "found" / "projected.png")
    )
    assert (ours == theirs).all()
    assert np.square(found - ours).mean() == pytest.approx(after, abs=1e-4)
    assert Image.open(tmp_path / "found" / "strip.png").size[0] > 10 * 96
    assert load_file(tmp_path / "found" / "w.safetensors")["ws"].shape == (6, 8)


def test_project_says_that_it_resizes(checkpoint, run, monkeypatch, capsys, tmp_path):
    Image.new("RGB", (40, 30)).save(tmp_path / "other.png")
    said = []
    monkeypatch.setattr(sys.stderr, "write", said.append)
    run(
        "project",
        "--ckpt_path",
        checkpoint("StyleGAN2"),
        "--image=other.png",
        "--steps=1",
        "--lpips=false",
        "--w_plus=true",
    )
    assert "'other.png' is 40x30: its middle is resized to 16x16.\n" in said


@pytest.mark.parametrize(
    ("name", "words", "sentence"),
    [
        ("DCGAN", ["sample", "--seeds=5-1"], "--seeds '5-1' is no list of numbers: write it as 0-35 or 1,5,8-11."),
        ("DCGAN", ["sample", "--seeds=1,,2"], "--seeds '1,,2' is no list of numbers: write it as 0-35 or 1,5,8-11."),
        ("DCGAN", ["sample", "--seeds=all"], "--seeds 'all' is no list of numbers: write it as 0-35 or 1,5,8-11."),
        ("DCGAN", ["sample", "--seeds=[]"], "--seeds [] is no list of numbers: write it as 0-35 or 1,5,8-11."),
        ("DCGAN", ["sample", f"--seeds=3,{2**64}"], f"--seeds '{2**64}' is out of range: numbers go from 0 to {LAST}."),
        ("DCGAN", ["sample", f"--seeds=0-{2**64}"], f"--seeds '0-{2**64}' is out of range: numbers go from"),
        ("DCGAN", ["sample", "--seeds", "1", "-1"], "--seeds '-1' is out of range: numbers go from"),
        ("DCGAN", ["sample", f"--seeds=0-{LAST}"], "--seeds names more than 1,000,000 numbers: name fewer."),
        ("DCGAN", ["sample", f"--seed={2**64}"], f"seed={2**64} must be from 0 to {LAST}."),
        ("DCGAN", ["sample", "--seed=-1"], f"seed=-1 must be from 0 to {LAST}."),
        ("DCGAN", ["interpolate", f"--seeds=[0, {2**64}]"], f"--seeds '{2**64}' is out of range"),
        ("StyleGAN2", ["mix", "--rows=-2"], "--rows '-2' is out of range"),
        ("StyleGAN2", ["mix", f"--columns={2**64}"], f"--columns '{2**64}' is out of range"),
        ("StyleGAN2", ["project", "--image=black.png", f"--seed={2**64}"], f"seed={2**64} must be from 0 to {LAST}."),
        ("DCGAN", ["sample", "--fps=0"], "fps=0 must be from 1 to 100: it is the pictures a second."),
        (
            "DCGAN",
            ["sample", "--sample_rate=0"],
            "sample_rate=0 must be at least 1",
        ),
        ("DCGAN", ["sample", "--class_idx=1"], "DCGAN was trained without classes: leave labels out."),
        ("CGAN", ["sample", "--seeds=0-1", "--class_idx=10"], "labels must be 2 class indices from 0 to 9."),
        (
            "VanillaGAN",
            ["interpolate"],
            "interpolate works on images, and VanillaGAN makes samples of kind 'point': see sample.",
        ),
        (
            "DCGAN",
            ["interpolate", "--out=movie.avi"],
            "'movie.avi' is no name for a movie: let it end in .gif or .mp4.",
        ),
        ("DCGAN", ["interpolate", "--fps=0"], "fps=0 must be from 1 to 100: it is the pictures a second."),
        (
            "DCGAN",
            ["interpolate", "--seeds=0-4", "--cells=2"],
            "5 seeds cannot move 2 cells: each needs as many, and at least two.",
        ),
        (
            "DCGAN",
            ["interpolate", "--space=w"],
            NO_STYLES.format("space='w'"),
        ),
        ("DCGAN", ["mix"], NO_STYLES.format("mix")),
        ("StyleGAN2", ["mix", "--styles=4-9"], "There are no styles 4-9 in this StyleGAN2: it has 0-5."),
        ("StyleGAN2", ["mix", "--out=sheet.xyz"], "'sheet.xyz' is no name for a sheet: let it end in .png."),
        ("StyleGAN2", ["project", "--image=nowhere.png"], "There is no image 'nowhere.png': check the path."),
        ("StyleGAN2", ["project"], "the following arguments are required: --image"),
        ("StyleGAN2", ["project", "--image=notes.txt"], "Cannot read the image notes.txt ("),
        (
            "DCGAN",
            ["project", "--image=black.png"],
            NO_STYLES.format("project"),
        ),
        ("StyleGAN2", ["project", "--image=black.png", "--steps=0"], "steps=0 must be at least 1."),
        ("StyleGAN2", ["interpolat"], "There is no command 'interpolat', did you mean 'interpolate'?"),
    ],
)
def test_mistakes(name, words, sentence, checkpoint, complaint, tmp_path):
    path = checkpoint(name)
    (tmp_path / "notes.txt").write_text("no picture")
    Image.new("RGB", (16, 16)).save(tmp_path / "black.png")
    lpips = ["--lpips=false"] if "--image=black.png" in words else []
    assert complaint(*words, *lpips, "--ckpt_path", path).startswith(sentence)
    assert {file.name for file in tmp_path.iterdir()} == {"notes.txt", "black.png"}


def test_mp4_is_refused_before_any_work(complaint, monkeypatch):
    monkeypatch.setattr("gan_modules.visuals.movies.find_spec", lambda name: None)
    sentence = complaint("interpolate", "--ckpt_path=not_even_there.ckpt", "--out=movie.mp4")
    assert sentence == "Writing MP4 needs PyAV: pip install 'gan-modules[video]', or let the name end in .gif."
