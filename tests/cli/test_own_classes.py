"""Classes and networks of the user's own on the command line, and configurations by name."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from lightning.pytorch import Trainer
from PIL import Image

from gan_modules import DCGAN, GAN, GANError

ROOT = Path(__file__).parents[2]
CONFIGS = {path.stem: path for path in sorted((ROOT / "examples" / "configs").glob("*_*.yaml"))}
QUIET = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
FEW = [*QUIET, "--data.batch_size=4", "--trainer.max_steps=1", "--trainer.limit_val_batches=0"]
SMALL = ["fit", "--model=DCGAN", "--model.base_channels=2", "--model.latent_dim=4", "--data=DigitsDataModule", *FEW]


def last_checkpoint(folder):
    (path,) = folder.glob("**/last.ckpt")
    return path


def printed(run, capsys, *words):
    """The configuration that a command prints."""
    with pytest.raises(SystemExit):
        run(*words)
    return yaml.safe_load(capsys.readouterr().out)


MINE = """
from collections.abc import Sequence
from torch import nn
from datamodules import DigitsDataModule
from gan_modules import DCGAN

class LSGAN(DCGAN):
    def __init__(self, image_shape: Sequence[int], latent_dim: int = 4, base_channels: int = 2):
        super().__init__(image_shape, latent_dim, base_channels)

class Heard(LSGAN):
    def __init__(self, sample_rate: int, image_shape: Sequence[int] = (1, 16, 16)):
        super().__init__(image_shape)
        self.sample_rate = sample_rate

class Digits(DigitsDataModule):
    pass

class Recorded(DigitsDataModule):
    @property
    def spec(self):
        return {"image_shape": self.image_shape, "sample_rate": 16000}

class Generator(nn.Module):
    def __init__(self, width: int = 4):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 256), nn.Tanh())

    def forward(self, z):
        return self.layers(z).view(-1, 1, 16, 16)
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A module of the user's own in the working directory; forgotten afterwards."""
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    yield "mine"
    sys.modules.pop("mine", None)


def test_own_classes_from_fit_to_picture(tmp_path):
    """In processes of their own, since an imported class is known ever after; the printed command runs as printed."""
    (tmp_path / "mine.py").write_text(MINE)
    options = {"cwd": tmp_path, "env": os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}}
    options |= {"capture_output": True, "text": True}
    start = [sys.executable, "-c", "import sys; from gan_modules.cli import main; main()"]
    fit = subprocess.run([*start, "fit", "--model=mine.LSGAN", "--data=mine.Digits", *FEW], check=True, **options)
    (printed,) = [line for line in fit.stdout.splitlines() if line.startswith("gan-modules sample")]
    assert printed.endswith(" --model mine.LSGAN")
    done = subprocess.run([*start, *printed.split()[1:]], check=True, **options)
    assert "64 samples: grid.png" in done.stdout
    without = subprocess.run([*start, *printed.split()[1:-2]], **options)
    assert without.returncode == 2
    assert "was made by 'mine.LSGAN', which is not known here: import that class first" in without.stderr


def test_own_classes_go_on_and_predict(mine, run, complaint, tmp_path):
    words = ["--model=mine.LSGAN", "--data=mine.Digits", *FEW]
    run("fit", *words)
    path = last_checkpoint(tmp_path)
    assert "Played 2 steps" in run("fit", *words, "--trainer.max_steps=2", "--ckpt_path", path)
    run("predict", *words[:-2], "--trainer.limit_predict_batches=2", "--ckpt_path", path)
    assert len(list(tmp_path.glob("**/predictions/*.png"))) == 8
    other = complaint("fit", "--model=DCGAN", *words[1:], "--ckpt_path", path)
    assert other == f"'{path}' holds a mine.LSGAN, not a DCGAN: pass --model mine.LSGAN, or another checkpoint."


def test_the_data_supply_what_the_model_names(mine, run, complaint, tmp_path):
    run("fit", "--model=mine.Heard", "--data=mine.Recorded", *FEW)
    assert torch.load(last_checkpoint(tmp_path), weights_only=True)["hyper_parameters"]["sample_rate"] == 16000
    both = complaint("fit", "--model=mine.Heard", "--model.sample_rate=3", "--data=mine.Recorded", *FEW)
    assert both == "The data supplies sample_rate: leave --model.sample_rate out, and choose the data's instead."
    neither = complaint("fit", "--model=mine.Heard", "--data=mine.Digits", *FEW)
    assert neither == (
        "Heard needs sample_rate, which Digits does not know: pass --model.sample_rate, or choose data that has it."
    )


def test_an_own_network_in_a_papers_game(mine, run, complaint, tmp_path):
    words = ["--model=DCGAN", "--model.latent_dim=4", "--model.base_channels=2", "--data=DigitsDataModule", *FEW]
    said = run("fit", *words, "--model.generator=mine.Generator", "--model.generator.width=3")
    assert said.splitlines()[-1].endswith(" --import mine")
    path = last_checkpoint(tmp_path)
    saved = torch.load(path, weights_only=True)["hyper_parameters"]["generator"]
    assert saved == {"class_path": "mine.Generator", "init_args": {"width": 3}}
    model = GAN.load_from_checkpoint(path)
    assert model.generator.layers[0].out_features == 3
    run("sample", "--ckpt_path", path, "--n=4", "--out=folder", "--import=mine")
    written = np.asarray(Image.open(tmp_path / "folder" / "000003.png"))
    assert np.abs(written - ((model.sample(4, seed=0)[3, 0] + 1) * 255 / 2).numpy()).max() < 0.51

    checkpoint = torch.load(path, weights_only=True)
    checkpoint["hyper_parameters"]["generator"] = {"class_path": "os.system", "init_args": {"command": "true"}}
    torch.save(checkpoint, tmp_path / "stranger.ckpt")
    sentence = complaint("sample", "--ckpt_path", tmp_path / "stranger.ckpt", "--n=4")
    assert sentence.startswith("The checkpoint's generator is a 'os.system', which is not known here: import that")


@pytest.mark.parametrize("name", ["generator", "anything"])
def test_a_file_has_no_network_of_another_package_built(name, tmp_path, monkeypatch):
    """It could name a file to open or an address to load from, though the class be imported."""
    from torchmetrics.image import LearnedPerceptualImagePatchSimilarity

    model = DCGAN((1, 16, 16), 4, 2)
    trainer = Trainer(max_steps=1, accelerator="cpu", logger=False, enable_progress_bar=False)
    trainer.fit(model, torch.utils.data.DataLoader(torch.rand(2, 1, 16, 16), 2))
    trainer.save_checkpoint(path := tmp_path / "hostile.ckpt")
    checkpoint = torch.load(path, weights_only=True)
    metric = LearnedPerceptualImagePatchSimilarity
    class_path = f"{metric.__module__}.{metric.__qualname__}"
    checkpoint["hyper_parameters"][name] = {"class_path": class_path, "init_args": {"net_type": "vgg"}}
    torch.save(checkpoint, path)
    built = []
    monkeypatch.setattr(metric, "__init__", lambda *args, **kwargs: built.append(args))
    with pytest.raises(GANError, match="of an installed package, which a file cannot have built"):
        GAN.load_from_checkpoint(path)
    assert built == []


def test_a_network_made_in_python_is_asked_for(mine, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    import mine as own

    model = DCGAN((1, 16, 16), 4, 2, generator=own.Generator(3))
    trainer = Trainer(max_steps=1, accelerator="cpu", logger=False, enable_progress_bar=False)
    trainer.fit(model, torch.utils.data.DataLoader(torch.rand(2, 1, 16, 16), 2))
    trainer.save_checkpoint(path := tmp_path / "own.ckpt")
    with pytest.raises(GANError, match=r"load_from_checkpoint\(path, generator=Generator\(\.\.\.\)\)"):
        GAN.load_from_checkpoint(path)
    again = GAN.load_from_checkpoint(path, generator=own.Generator(3))
    torch.testing.assert_close(again.sample(2, seed=0), model.sample(2, seed=0), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--model=nowhere.LSGAN"], "--model nowhere.LSGAN: there is no module 'nowhere' in this folder or among "),
        (["--model=mine.LSGANN"], "--model mine.LSGANN: 'mine' has no GAN class 'LSGANN'."),
        (["--model=mine.Digits"], "--model mine.Digits: 'mine' has no GAN class 'Digits'."),
        (["--model=mine.LSGAN", "--model.base_chanels=3"], "LSGAN takes no argument 'base_chanels', did you mean 'b"),
        (["--config=dcgan_digts"], "--config: there is no file and no configuration 'dcgan_digts', did you mean 'dc"),
    ],
)
def test_mistakes_with_own_names(words, sentence, mine, complaint):
    assert complaint("fit", "--data=mine.Digits", *words).startswith(sentence)


def test_a_fit_without_a_configuration_leaves_pictures_and_a_checkpoint(run, tmp_path):
    run(*SMALL, "--trainer.max_steps=2")
    run_folder = tmp_path / "runs" / "dcgan_digits" / "version_0"
    assert (run_folder / "checkpoints" / "last.ckpt").is_file()
    assert {path.name for path in (run_folder / "samples").iterdir()} == {"step_00000000.png", "step_00000002.png"}


def test_a_preview_of_ones_own_replaces_the_default(run, tmp_path):
    run(*SMALL, "--trainer.max_steps=2", "--trainer.callbacks+=SampleGrid", "--trainer.callbacks.every_n_steps=1")
    pictures = (tmp_path / "runs" / "dcgan_digits" / "version_0" / "samples").iterdir()
    assert len(list(pictures)) == 3


def test_configurations_by_name(run, tmp_path):
    said = run("configs")
    for name, path in CONFIGS.items():
        what, command, figures = (line.removeprefix("# ") for line in path.read_text().splitlines()[:3])
        assert command.split()[:4] == ["gan-modules", "fit", "--config", name]
        assert f"{name}\n    {what}\n    {figures.partition('; ')[0]}" in said
    run("fit", "--config", "dcgan_digits", "--model.base_channels=2", *FEW)
    assert (tmp_path / "runs" / "dcgan_digits" / "version_0" / "config.yaml").is_file()


PRESETS = {  # arXiv:2006.06676, table 6 and the reference configurations; R1 of auto is 0.0002 · size² / batch
    "stylegan2_auto_256": {"r1_weight": 2e-4 * 256**2 / 32, "ema_half_life": 10_000, "channel_base": 16384},
    "stylegan2_auto_1024": {"r1_weight": 2e-4 * 1024**2 / 32, "channel_base": 32768, "lr_g": 2e-3, "lr_d": 2e-3},
    "stylegan2_paper256": {"r1_weight": 1.0, "ema_half_life": 20_000, "stddev_group": 8, "mapping_layers": 8},
    "stylegan2_cifar": {"r1_weight": 0.01, "ema_half_life": 500_000, "residual": False, "style_mixing_prob": 0.0},
}


@pytest.mark.parametrize("name", PRESETS)
def test_presets_lie_beneath_what_follows_them(name, run, capsys):
    words = ["fit", "--config", name, "--data=DigitsDataModule", "--model.channel_max=2", "--print_config"]
    given = printed(run, capsys, *words)["model"]["init_args"]
    assert given["channel_max"] == 2
    assert {key: given[key] for key in PRESETS[name]} == pytest.approx(PRESETS[name])


def test_what_needs_no_model_does_not_wait_for_lightning():
    for words in ("--version", "--help", "fti"):
        code = f"import sys; sys.argv[1:] = ['{words}']\nfrom gan_modules.cli import main\n"
        code += "try: main()\nexcept SystemExit as left: assert left.code == 2\n"
        code += "assert not {'lightning', 'torch'} & set(sys.modules), sorted(sys.modules)"
        subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True)
