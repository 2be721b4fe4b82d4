"""Scores of coloured and colourless images: colour is never taken from either side without a word."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from gan_modules.metrics.classifier import Classifier
from gan_modules.scoring import score
from gan_modules.scoring.record import read


@pytest.fixture
def sets(tmp_path):
    """Noise in colour with one grey file first, the same without colour, and a feature network that sees colour."""
    random = np.random.default_rng(0)
    tensors = {"colour": [], "colourless": []}
    for number in range(80):
        picture = Image.fromarray(random.integers(0, 256, (8, 8, 3), np.uint8))
        grey = picture.convert("L")
        for name, image in (("colour", picture if number else grey), ("colourless", grey)):
            (tmp_path / name).mkdir(exist_ok=True)
            image.save(tmp_path / name / f"{number:02d}.png")
            tensors[name].append(torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1))
    torch.manual_seed(0)
    Classifier(3, 8, 4, widths=(8,), num_features=16).save(tmp_path / "eye.safetensors", "eye", 8)
    return {name: torch.stack(images) for name, images in tensors.items()}


@pytest.mark.parametrize(("real", "fake"), [("colour", "colourless"), ("colourless", "colour"), ("colour", "colour")])
def test_colourless_copies_do_not_score_as_the_photographs(sets, run, tmp_path, real, fake):
    run("score", "--real", real, "--fake", fake, "--features", "eye.safetensors", "--out", "scores.jsonl")
    (found,) = read(tmp_path / "scores.jsonl")
    (expected,) = score(sets[fake], sets[real], ["fid"], tmp_path / "eye.safetensors")
    assert found.value == pytest.approx(expected.value, rel=1e-5, abs=1e-9)
    assert (found.value > 1e-3) == (real != fake)


def test_colour_beside_grey_data_is_refused(sets, complaint):
    words = ("score", "--data", "DigitsDataModule", "--features", "digits", "--fake")
    assert complaint(*words, "colour") == (
        "01.png in 'colour' has colour, and those of DigitsDataModule are grey: convert it to grey."
    )


def test_labels_of_a_zip_score_a_conditional_model(sets, run, tmp_path):
    quiet = ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false", "--trainer.accelerator=cpu"]
    labels = [[f"{number:02d}.png", number % 2] for number in range(80)]
    (tmp_path / "colour" / "dataset.json").write_text(json.dumps({"labels": labels}))
    data = ["--data=ImageFolderDataModule", "--data.folder=colour", "--data.num_classes=2", "--data.image_size=8"]
    run("fit", "--model=CGAN", *data, "--data.batch_size=8", "--data.num_workers=0", "--trainer.max_steps=1", *quiet)
    (checkpoint,) = tmp_path.rglob("last.ckpt")
    words = ("--features", "eye.safetensors", "--n", "20", "--out", "scores.jsonl")
    run("score", "--ckpt_path", checkpoint, "--real", "colour", *words)
    (found,) = read(tmp_path / "scores.jsonl")
    assert (found.n_real, found.n_fake) == (80, 20)
    assert np.isfinite(found.value)
