"""Lists on the command line, by commas or word by word, wherever an argument takes one; and what is none."""

import numpy as np
import pytest
import torch
import yaml
from lightning.pytorch import Trainer
from PIL import Image

from gan_modules import CGAN, GAN
from gan_modules.commands.running import gather_lists
from gan_modules.commands.score import score
from gan_modules.tools import draw

QUIET = ["--trainer.accelerator=cpu", "--trainer.enable_model_summary=false", "--trainer.logger=false"]
NOTHING = [*QUIET, "--trainer.max_steps=0", "--trainer.callbacks=null"]
PAIRS = ["fit", "--model=DCGAN", "--model.base_channels=2", "--data=ImageFolderDataModule", "--data.folder=in"]


@pytest.fixture
def cgan(tmp_path):
    """Where a checkpoint is; its folder has commas in its name, as a sweep's does."""
    torch.manual_seed(0)
    trainer = Trainer(accelerator="cpu", max_steps=0, logger=False, enable_progress_bar=False)
    trainer.strategy.connect(CGAN((1, 8, 8), num_classes=10, hidden_dim=8))
    path = tmp_path / "lr=1,batch=2" / "last.ckpt"
    trainer.save_checkpoint(path)
    return path


@pytest.mark.parametrize(
    "words", [["--labels=7,0,7"], ["--labels", "7,0,7"], ["--labels", "7", "0", "7"], ["--labels=[7,0,7]"]]
)
def test_labels(words, cgan, run, tmp_path):
    run("sample", "--ckpt_path", cgan, "--n=3", "--seed=2", *words, "--out=a,b")
    pixels = np.stack([np.asarray(Image.open(file)) for file in sorted((tmp_path / "a,b").iterdir())])
    expected = GAN.load_from_checkpoint(cgan).sample(3, seed=2, labels=[7, 0, 7])
    assert np.abs(pixels - (expected[:, 0].numpy() + 1) * 127.5).max() < 0.51


def test_labels_for_seeds(cgan, run, tmp_path):
    run("sample", "--ckpt_path", cgan, "--seeds", "5", "8-9", "--labels", "1,2,3", "--out=some.npy")
    model = GAN.load_from_checkpoint(cgan)
    assert np.abs(np.load(tmp_path / "some.npy") - draw(model, [5, 8, 9], labels=[1, 2, 3]).numpy()).max() < 1e-6


@pytest.mark.parametrize(
    "words", [["--data.image_size=8,16"], ["--data.image_size", "8,16"], ["--data.image_size", "8, 16"]]
)
def test_the_words_of_a_fit(words, run, complaint, tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(20):
        Image.new("L", (16, 16), number).save(tmp_path / "in" / f"{number}.png")
    said = complaint(*PAIRS, *words, *NOTHING)
    assert "image_shape (3, 8, 16)" in said or "image_shape (1, 8, 16)" in said  # which is not this network's


def test_what_a_fit_notes(run, tmp_path):
    (tmp_path / "mine.yaml").write_text("model:\n  class_path: DCGAN\n  init_args:\n    betas: 0.25,0.75\n")
    words = ["fit", "--config=mine.yaml", "--model.base_channels=2", "--data=DigitsDataModule", "--trainer.max_steps=1"]
    words += ["--trainer.accelerator=cpu", "--trainer.callbacks=ModelSummary,LearningRateMonitor"]
    run(*words, "--trainer.default_root_dir=a, b")
    (config,) = (tmp_path / "a, b").rglob("config.yaml")
    noted = yaml.safe_load(config.read_text())
    assert noted["model"]["init_args"]["betas"] == [0.25, 0.75]
    names = [callback["class_path"].rpartition(".")[2] for callback in noted["trainer"]["callbacks"]]
    assert names == ["ModelSummary", "LearningRateMonitor"]


def test_paths_keep_their_commas():
    words = ["--ckpt_path", "lr=1,n=2/last.ckpt", "b", "--metrics=fid,kid", "--seeds", "0", "2-3", "--n", "9"]
    assert gather_lists(score, words) == [
        '--ckpt_path=["lr=1,n=2/last.ckpt", "b"]', '--metrics=["fid", "kid"]', "--seeds=0,2-3", "--n", "9",
    ]  # fmt: skip
    assert gather_lists(score, ["--ckpt_path=a,b.ckpt"]) == ['--ckpt_path=["a,b.ckpt"]']


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--labels=cat"], "There is no class 'cat': the model's classes have no names, so pass their numbers."),
        (["--labels=0,1"], "labels must be 3 class indices from 0 to 9."),
        (["--n=1,2"], "--n takes a whole number, not '[1, 2]'."),
        (["--ema=perhaps"], "--ema takes true or false, not 'perhaps'."),
        (
            ["--truncation", "0.5", "0.7"],
            "'0.7' belongs to no argument: write a list with commas, as 16,24, and a name",
        ),
    ],
)
def test_what_is_no_list(words, sentence, cgan, complaint):
    assert complaint("sample", "--ckpt_path", cgan, "--n=3", *words, "--out=some.npy").startswith(sentence)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--data.image_size=16x24"], "--data.image_size takes a whole number or a list such as 1,2, not '16x24'."),
        (["--data.image_size", "16", "24"], "'24' belongs to no argument: write a list with commas, as 16,24"),
        (["--data.image_size=8,16,24"], "--data.image_size takes a whole number or a list of 2, not '[8, 16, 24]'."),
        (["--model.betas=0.5"], "--model.betas takes a list such as 1,2, not '0.5'."),
        (["--model.betas=0.5,fast"], "--model.betas takes a number, not 'fast'."),
        (["--model.lr_g=1e-4,2e-4"], "--model.lr_g takes a number, not '[0.0001, 0.0002]'."),
    ],
)
def test_what_a_fit_cannot_read(words, sentence, complaint):
    assert complaint(*PAIRS, *words, *NOTHING).startswith(sentence)


def test_choices_are_named(cgan, complaint):
    said = complaint("interpolate", "--ckpt_path", cgan, "--space=q")
    assert said == "--space takes one of 'z', 'w', not 'q'."
