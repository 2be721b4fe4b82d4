"""Translations at the photograph's own size, of single files, and of folders with damaged ones."""

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image
from torch.nn import functional as F

from gan_modules import Pix2Pix


@pytest.fixture
def model(tmp_path):
    torch.manual_seed(0)
    model = Pix2Pix(
        (3, 16, 16), generator="resnet_1", norm="batch", base_channels=2, discriminator_channels=2, patch_layers=1
    )
    trainer = Trainer(accelerator="cpu", max_steps=0, logger=False, enable_progress_bar=False)
    trainer.strategy.connect(model)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    return model


def photograph(path, width, height):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 127.5 - 1


def assert_shows(path, expected):
    with Image.open(path) as file:
        assert np.abs(np.asarray(file) - (expected[0].permute(1, 2, 0).numpy() + 1) * 127.5).max() < 0.51


@pytest.mark.parametrize("tile", [[], ["--tile=128"]])
def test_a_photograph_at_its_own_size(tile, model, run, tmp_path):
    image = photograph(tmp_path / "me.png", 201, 90)
    words = ["--ckpt_path=model.ckpt", "--size=native", *tile]
    assert run("translate", *words, "--input=me.png", "--output=new/you.png").endswith("1 translations: new/you.png\n")
    assert_shows("new/you.png", model.translate(F.pad(image, (0, 3, 0, 2), mode="reflect"))[..., :90, :201])
    assert "1 translations: folder/me.png" in run("translate", *words, "--input=me.png", "--output=folder")
    assert (tmp_path / "folder" / "me.png").read_bytes() == (tmp_path / "new" / "you.png").read_bytes()


def test_the_shorter_side_at_a_number_of_pixels(model, run, tmp_path):
    photograph(tmp_path / "in" / "wide.png", 90, 30)
    photograph(tmp_path / "in" / "deep" / "high.png", 20, 40)
    assert "2 translations: out/" in run(
        "translate", "--ckpt_path=model.ckpt", "--size=60", "--input=in", "--output=out"
    )
    for name, seen in (("wide.png", (180, 60)), ("deep/high.png", (60, 120))):
        with Image.open(tmp_path / "in" / name) as file:
            own, pixels = file.size, np.asarray(file.resize(seen, Image.Resampling.BICUBIC)).copy()
        answer = model.translate(torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 127.5 - 1)
        shown = ((answer[0].permute(1, 2, 0) + 1) * 127.5).round().clamp(0, 255).byte().numpy()
        expected = np.asarray(Image.fromarray(shown).resize(own, Image.Resampling.BICUBIC)).astype(int)
        assert np.abs(np.asarray(Image.open(tmp_path / "out" / name)) - expected).max() <= 1


@pytest.mark.parametrize("size", [[], ["--size=native"]])
def test_what_cannot_be_read_is_left_out_and_named(size, model, run, complaint, tmp_path):
    photograph(tmp_path / "in" / "a.png", 16, 16)
    (tmp_path / "in" / "b.png").write_text("no picture")
    (tmp_path / "in" / "c.jpg").write_bytes(b"")
    photograph(tmp_path / "in" / "d.png", 16, 20)
    words = ["translate", "--ckpt_path=model.ckpt", "--input=in", "--output=out", "--batch_size=1", *size]
    assert complaint(*words).startswith("Cannot read the image in/b.png")
    said = run(*words, "--skip_unreadable=true")
    assert said.endswith("2 translations: out/, 2 unreadable images left out: in/b.png, in/c.jpg\n")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "d.png"]
    (tmp_path / "in" / "a.png").unlink()
    (tmp_path / "in" / "d.png").unlink()
    assert complaint(*words, "--skip_unreadable=true").startswith("None of the 2 images can be read")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--size=0"], "size=0 must be at least 1."),
        (["--size=-3"], "size=-3 must be at least 1."),
        (["--tile=0"], "tile=0 must be at least 1."),
        (["--size=native", "--tile=7"], "tile=7 is less than the 8 pixels that the network needs"),
        (["--size=huge"], "--size"),
        (["--output=me.png"], "'me.png' is the image itself: pass another place as --output."),
        (["--output=."], "'me.png' is the image itself: pass another place as --output."),
        (["--output=notes.txt"], "'notes.txt' is no folder, so nothing can be written to it: pass another --output."),
        (["--input=nowhere.png"], "There is no image and no folder 'nowhere.png'"),
        (["--input=notes.txt"], "Cannot read the image notes.txt"),
    ],
)
@pytest.mark.usefixtures("model")
def test_mistakes(words, sentence, complaint, tmp_path):
    photograph(tmp_path / "me.png", 16, 16)
    (tmp_path / "notes.txt").write_text("notes")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    usual = {"--input": "me.png", "--output": "out.png"} | dict(word.split("=") for word in words)
    given = [f"{key}={value}" for key, value in usual.items()]
    assert complaint("translate", "--ckpt_path=model.ckpt", *given).startswith(sentence)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
