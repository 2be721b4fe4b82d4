"""The command line as a user meets it: the shipped configurations, a run from start to picture, and every mistake."""

import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from lightning.pytorch import Trainer
from PIL import Image

from datamodules import CelebADataModule
from gan_modules import DCGAN, GAN, VanillaGAN

ROOT = Path(__file__).parents[2]
CONFIGS = {path.stem: path for path in sorted((ROOT / "examples" / "configs").glob("*_*.yaml"))}
AT_HAND = [name for name in CONFIGS if name.endswith(("_digits", "_toy"))]
QUIET = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
DIGITS = ["--model=DCGAN", "--model.base_channels=2", "--model.latent_dim=4", "--data=DigitsDataModule", *QUIET]
DIGITS += ["--data.batch_size=4"]
TINY = ["fit", *DIGITS, "--trainer.max_steps=2", "--trainer.limit_val_batches=0"]


def tiny(name):
    """The config's own networks, narrow."""
    arguments = yaml.safe_load(CONFIGS[name].read_text())["model"]
    widths = {"VanillaGAN": "hidden_dim=8", "CGAN": "hidden_dim=8"}
    widths |= {"StyleGAN": "channel_max=2", "StyleGAN2": "channel_max=2"}
    narrow = widths.get(arguments["class_path"].rpartition(".")[2])
    if narrow is None:
        narrow = "hidden_dim=8" if name.endswith("_toy") else "base_channels=2"
    return ["fit", "--config", CONFIGS[name], *QUIET, f"--model.{narrow}", "--data.batch_size=8"]


def last_checkpoint(folder):
    (path,) = folder.glob("**/last.ckpt")
    return path


@pytest.mark.parametrize("name", AT_HAND)
def test_config_trains_resumes_and_samples(name, run, tmp_path):
    options = tiny(name)
    points = name.endswith("_toy")
    if not points:  # validate in these few rounds, too
        options += ["--trainer.check_val_every_n_epoch=1", "--trainer.val_check_interval=2"]
        options += ["--trainer.limit_val_batches=2", "--trainer.num_sanity_val_steps=0"]
    run(*options, "--trainer.max_steps=2")
    folder = tmp_path / "runs" / name
    saved = torch.load(last_checkpoint(folder / "version_0"), weights_only=True)
    assert saved["global_step"] == 2
    pictures = [path.name for path in sorted((folder / "version_0" / "samples").iterdir())]
    assert pictures == ["step_00000000.png", "step_00000002.png"]

    run(*options, "--trainer.max_steps=4", "--ckpt_path", last_checkpoint(folder / "version_0"))
    path = last_checkpoint(folder)
    resumed = torch.load(path, weights_only=True)
    assert resumed["global_step"] == 4
    assert resumed["gan_modules"]["images_seen"] == 2 * saved["gan_modules"]["images_seen"] > 0

    model = GAN.load_from_checkpoint(path)
    classes = resumed["hyper_parameters"].get("num_classes", 0)
    shape = (2,) if points else (3 if "stacked" in name else 1, 16, 16)
    assert (model.sample_shape, classes) == (shape, (8 if points else 10) if classes else 0)
    assert bool(classes) == name.startswith(("cgan", "stylegan"))

    assert "4 samples: grid.png" in run("sample", "--ckpt_path", path, "--n=4", "--out=grid.png")
    assert Image.open(tmp_path / "grid.png").getextrema() != ((255, 255),) * 3
    if points:
        return
    run("sample", "--ckpt_path", path, "--n=4", "--out=folder", "--seed=3")
    files = sorted((tmp_path / "folder").iterdir())
    assert [file.name for file in files] == [f"{index:06d}.png" for index in range(4)]
    written = np.stack([np.asarray(Image.open(file)).reshape(16, 16, -1) for file in files])
    expected = ((model.sample(4, seed=3) + 1) * 255 / 2).permute(0, 2, 3, 1).numpy()
    assert np.abs(written - expected).max() < 0.51


def make_celeba(folder):
    images = folder / "celeba" / "img_align_celeba"
    images.mkdir(parents=True)
    names = [f"{index:06d}.jpg" for index in range(8)]
    for index, name in enumerate(names):
        Image.new("RGB", (178, 218), (20 * index, 90, 200)).save(images / name)
    partition = [f"{name} {0 if index < 4 else 1 + index % 2}\n" for index, name in enumerate(names)]
    (folder / "celeba" / "list_eval_partition.txt").write_text("".join(partition))


def make_fashion_mnist(folder):
    raw = folder / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for split, count in (("train", 8), ("t10k", 4)):
        pixels = bytes(index % 251 for index in range(count * 28 * 28))
        (raw / f"{split}-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 2051, count, 28, 28) + pixels)
        (raw / f"{split}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, count) + bytes(range(count)))


TWO_SIDED = {name for name in CONFIGS if name.startswith(("pix2pix", "cyclegan"))}  # see test_translate_command.py
MADE_UP = {"celeba": make_celeba, "fashion_mnist": make_fashion_mnist}


@pytest.mark.parametrize("name", [name for name in CONFIGS if name not in {*AT_HAND, *TWO_SIDED}])
def test_config_trains_on_made_up_files(name, run, tmp_path):
    (data,) = [data for data in MADE_UP if name.endswith(f"_{data}")]
    MADE_UP[data](tmp_path / "data")
    printed = yaml.safe_load(printing(run, "fit", "--config", CONFIGS[name], "--print_config"))
    assert printed["data"]["init_args"]["root"] == "data"
    assert printed["monitor"] == "val/fid"
    assert printed["trainer"]["callbacks"][-1]["class_path"] == "gan_modules.callbacks.FID"
    # without its callbacks: FID would fetch Inception's weights
    options = [*tiny(name), "--data.num_workers=0", "--data.batch_size=4", "--trainer.callbacks=null"]
    said = run(*options, "--trainer.max_steps=1", "--trainer.limit_val_batches=0")
    assert "Played 1 steps" in said


def printing(run, *words):
    """What a command prints that ends by leaving with status 0."""
    with pytest.raises(SystemExit) as stopped:
        run(*words)
    assert stopped.value.code == 0
    return run("--version").rpartition("gan-modules")[0]


def test_every_variant_has_a_config_for_data_at_hand():
    variants = {"cgan", "dcgan", "stylegan", "stylegan2", "vanilla", "wgan", "wgan_gp"}
    assert {name.rpartition("_")[0] for name in AT_HAND} >= variants


def test_as_a_module_from_the_shell(tmp_path):
    options = {"cwd": ROOT, "env": os.environ | {"OMP_NUM_THREADS": "1"}, "capture_output": True, "text": True}
    words = [sys.executable, "-m", "gan_modules", *TINY, "--trainer.default_root_dir", str(tmp_path)]
    done = subprocess.run(words, check=True, **options)
    assert "Played 2 steps" in done.stdout
    path = last_checkpoint(tmp_path)
    # a process that has imported no variant yet finds the class all the same
    code = "import sys; from gan_modules import GAN; print(type(GAN.load_from_checkpoint(sys.argv[1])).__name__)"
    found = subprocess.run([sys.executable, "-c", code, path], check=True, **options)
    assert found.stdout.strip() == "DCGAN"


@pytest.fixture
def trained(run, tmp_path):
    run(*TINY)
    return last_checkpoint(tmp_path)


def test_the_saved_configuration_repeats_the_run(run, trained, tmp_path):
    config = trained.parents[1] / "config.yaml"
    assert "image_shape" not in yaml.safe_load(config.read_text())["model"]["init_args"]  # the data says it
    run("fit", "--config", config)
    (again,) = [path for path in tmp_path.glob("**/last.ckpt") if path != trained]
    first, second = (torch.load(path, weights_only=True)["state_dict"] for path in (trained, again))
    torch.testing.assert_close(second, first, rtol=0, atol=0)


def test_validate_scores_what_fit_scored(run, tmp_path):
    options = [*tiny("dcgan_digits"), "--data.batch_size=64", "--trainer.num_sanity_val_steps=0"]
    options += ["--trainer.check_val_every_n_epoch=1", "--trainer.val_check_interval=2"]
    said = run(*options, "--trainer.max_steps=2")
    (score,) = [line.split()[1] for line in said.splitlines() if "val/fd_digits" in line]
    path = last_checkpoint(tmp_path)
    said = run("validate", *options[1:], "--ckpt_path", path)
    words = said.replace("│", " ").split()
    assert float(words[words.index("val/fd_digits") + 1]) == pytest.approx(float(score), rel=1e-3)
    assert "test/fd_digits" in run("test", *options[1:], "--ckpt_path", path)
    run("predict", *options[1:], "--ckpt_path", path)


def test_samples_of_one_class(run, complaint, tmp_path):
    run(*tiny("cgan_digits"), "--trainer.max_steps=1")
    path = last_checkpoint(tmp_path)
    run("sample", "--ckpt_path", path, "--n=3", "--labels=7", "--out=folder", "--truncation=0")
    pictures = [np.asarray(Image.open(file)) for file in (tmp_path / "folder").iterdir()]
    assert all((picture == pictures[0]).all() for picture in pictures)
    run("sample", "--ckpt_path", path, "--n=3", "--labels=[7,8,9]", "--out=others", "--truncation=0")
    others = [np.asarray(Image.open(file)) for file in sorted((tmp_path / "others").iterdir())]
    assert (others[0] == pictures[0]).all()
    assert not (others[1] == pictures[0]).all()
    sentence = complaint("sample", "--ckpt_path", path, "--n=3", "--labels=10")
    assert sentence == "labels must be 3 class indices from 0 to 9."


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",)])
def test_help_names_commands_models_and_data(words, run):
    said = run(*words)
    for word in (
        "fit",
        "validate",
        "test",
        "predict",
        "sample",
        "DCGAN",
        "WGANGP",
        "DigitsDataModule",
        "ImageFolderDataModule",
    ):
        assert word in said.replace("\n", " ").split()
    assert " GAN " not in said.replace("\n", " ")  # nothing abstract is on offer


def test_mistakes_with_a_checkpoint(run, complaint, trained, tmp_path):
    cut, none = tmp_path / "cut.ckpt", tmp_path / "none.ckpt"
    cut.write_bytes(trained.read_bytes()[:2000])
    resume = [*TINY, "--trainer.max_steps=4", "--ckpt_path"]
    for command in (["sample", "--ckpt_path"], resume):
        assert complaint(*command, none) == f"There is no checkpoint at '{none}': check the path."
        assert complaint(*command, cut).startswith(f"'{cut}' cannot be read as a checkpoint: it is damaged, cut short")
    other = [word.replace("DCGAN", "WGAN") for word in resume]
    assert complaint(*other, trained) == (
        f"'{trained}' holds a DCGAN, not a WGAN: pass --model DCGAN, or another checkpoint."
    )
    wider = [word.replace("channels=2", "channels=3") for word in resume]
    assert complaint(*wider, trained) == (
        "The checkpoint's networks do not fit this DCGAN: it was made with base_channels=2, not 3; pass the same, or "
        "another checkpoint."
    )
    larger = [*resume, trained, "--data.image_size=32"]
    assert "it was made with image_shape=[1, 16, 16], not [1, 32, 32];" in complaint(*larger)
    sample = ["sample", "--ckpt_path", trained]
    assert complaint(*sample, "--labels=3") == "DCGAN was trained without classes: leave labels out."
    assert complaint(*sample, "--n=0") == "n=0 must be at least 1: it is the number of samples."
    assert complaint(*sample, "--n=four") == "--n takes a whole number, not 'four'."
    assert complaint(*sample, "--truncations=1") == "There is no argument --truncations, did you mean '--truncation'?"
    assert complaint(*sample, "--trunc=1") == "There is no argument --trunc, did you mean '--truncation'?"
    assert "ckpt_path" in complaint("sample")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--model=DCGANN"], "There is no model class 'DCGANN', did you mean 'DCGAN'? (there are "),
        (["--data=DigitDataModule"], "There is no data class 'DigitDataModule', did you mean 'DigitsDataModule'? ("),
        (["--model.base_chanels=3"], "DCGAN takes no argument 'base_chanels', did you mean 'base_channels'?; see "),
        (["--model.clip_nrom=3"], "DCGAN takes no argument 'clip_nrom', did you mean 'clip_norm'?; see "),
        (["--data.batchsize=3"], "DigitsDataModule takes no argument 'batchsize', did you mean 'batch_size'?; see "),
        (["--trainer.maxsteps=3"], "There is no argument --trainer.maxsteps, did you mean '--trainer.max_steps'?"),
        (["--trainer.max_step=3"], "There is no argument --trainer.max_step, did you mean '--trainer.max_steps'?"),
        (["--trainer.max_step", "3"], "There is no argument --trainer.max_step, did you mean '--trainer.max_steps'?"),
        (["--conf=nowhere.yaml"], "There is no argument --conf, did you mean '--config'?"),
        (["--model.base_channels=four"], "--model.base_channels takes a whole number, not 'four'."),
        (["--data.batch_size=four"], "--data.batch_size takes a whole number, not 'four'."),
        (["--trainer.max_steps=four"], "--trainer.max_steps takes a whole number, not 'four'."),
        (["--model.n_critic=0"], "n_critic=0 must be at least 1: it is the discriminator's updates in a step."),
        (["--model.accumulate=0"], "accumulate=0 must be at least 1: it is the number of parts of a batch."),
        (["--data.batch_size=0"], "batch_size=0 must be at least 1."),
        (
            ["--data.image_size=24"],
            "DCGANGenerator cannot be built for image_shape (1, 24, 24): height and width must be equal and one of "
            "8, 16, 32, 64, 128, 256; resize or pad the images to one of these sizes.",
        ),
        (
            ["--model.image_shape=[1,16,16]"],
            "The data supplies image_shape: leave --model.image_shape out, and choose the data's instead.",
        ),
        ([f"--data.seed={2**64}"], f"seed={2**64} must be from 0 to {2**64 - 1}."),
        (["--seed_everything=-1"], "--seed_everything -1 is not in bounds, numpy accepts from 0 to 4294967295."),
        ([f"--seed_everything={2**64}"], f"--seed_everything {2**64} is not in bounds"),
        (["--config=nowhere.yaml"], "--config: File does not exist"),
        (["--data.batch_size=2000"], "DigitsDataModule has 1438 training samples, fewer than batch_size=2000: "),
    ],
)
def test_mistakes_in_words(words, sentence, complaint):
    assert complaint(*TINY, *words).startswith(sentence)


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ({"model": {"class_path": "DCGANN"}}, "There is no model class 'DCGANN', did you mean 'DCGAN'? (there are "),
        (
            {"model": {"class_path": "DCGAN", "init_args": {"base_chanels": 3}}},
            "DCGAN takes no argument 'base_chanels', did you mean 'base_channels'?; see ",
        ),
        (
            {"data": {"class_path": "DigitsDataModule", "init_args": {"batchsize": 3}}},
            "DigitsDataModule takes no argument 'batchsize', did you mean 'batch_size'?; see ",
        ),
        (
            {"model": {"class_path": "DCGAN", "init_args": {"base_channels": "four"}}},
            "--model.base_channels takes a whole number, not 'four'.",
        ),
        ({"data": {"class_path": "Digits"}}, "There is no data class 'Digits' (there are CIFAR10DataModule, "),
        ({"trainer": {"max_step": 3}}, "There is no argument --trainer.max_step, did you mean '--trainer.max_steps'?"),
        ({"trainer": {"max_steps": "four"}}, "--trainer.max_steps takes a whole number, not 'four'."),
    ],
)
def test_mistakes_in_yaml(written, sentence, complaint, tmp_path):
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(written))
    shipped = ["fit", "--config", CONFIGS["dcgan_digits"], *QUIET]
    assert complaint(*shipped, "--config", tmp_path / "mine.yaml").startswith(sentence)


def test_mistakes_with_classes(complaint):
    words = [word for word in TINY if "base_channels" not in word]
    words[words.index("--model=DCGAN")] = "--model=CGAN"
    assert complaint(*words, "--model.num_classes=3") == (
        "The data supplies num_classes: leave --model.num_classes out, and choose the data's instead."
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["fti"], "There is no command 'fti', did you mean 'fit'?; see gan-modules --help."),
        (["smaple"], "There is no command 'smaple', did you mean 'sample'?; see gan-modules --help."),
        (["--fit"], "There is no command '--fit', did you mean 'fit'?; see gan-modules --help."),
        (["generate_batches"], "There is no command 'generate_batches'; see gan-modules --help."),
        (["fit"], "the following arguments are required: "),
        (["fit", "--model=DCGAN"], "the following arguments are required: "),
    ],
)
def test_mistakes_with_commands(words, sentence, complaint):
    assert complaint(*words).startswith(sentence)


def test_a_defect_is_no_mistake_of_the_users(run, monkeypatch):
    """An error that nobody foresaw keeps its traceback."""
    monkeypatch.setattr("torch.optim.Adam.step", lambda *_, **__: torch.zeros(2).view(3))
    with pytest.raises(RuntimeError, match="shape"):
        run(*TINY)


def test_the_traceback_is_there_for_those_who_ask(run, monkeypatch):
    monkeypatch.setenv("GAN_MODULES_TRACEBACK", "1")
    with pytest.raises(ValueError, match="n_critic=0"):
        run(*TINY, "--model.n_critic=0")


def test_dcgan_on_celeba_counts_its_rounds(tmp_path):
    make_celeba(tmp_path)
    data = CelebADataModule(str(tmp_path), batch_size=2, num_workers=0)
    trainer = Trainer(max_steps=20, accelerator="cpu", logger=False, enable_progress_bar=False, limit_val_batches=0)
    trainer.fit(DCGAN(base_channels=2), data)
    assert trainer.global_step == 20


def test_predict_writes_its_images(run, tmp_path):
    run("fit", *DIGITS, "--trainer.max_steps=1", "--trainer.default_root_dir=fit")
    path = last_checkpoint(tmp_path / "fit")
    run("predict", *DIGITS, "--ckpt_path", path, "--trainer.default_root_dir=made", "--trainer.limit_predict_batches=2")
    files = sorted(file.name for file in (tmp_path / "made").glob("**/predictions/*.png"))
    assert len(files) == 8
    assert files[0] == "0_00000_000.png"


def test_a_device_that_is_not_there(run, complaint, tmp_path):
    run("fit", *DIGITS, "--trainer.max_steps=1", "--trainer.default_root_dir=fit")
    path = last_checkpoint(tmp_path / "fit")
    for device in ("nonsense", "cuda") if not torch.cuda.is_available() else ("nonsense",):
        sentence = complaint("sample", "--ckpt_path", path, "--n=1", "--device", device)
        assert sentence.endswith(f"There is no device '{device}' here: pass --device cpu.")


def test_images_of_four_channels_make_files(run, tmp_path):
    model = VanillaGAN(image_shape=(4, 8, 8), hidden_dim=4)
    trainer = Trainer(max_steps=1, accelerator="cpu", logger=False, enable_progress_bar=False)
    trainer.fit(model, torch.utils.data.DataLoader(torch.rand(2, 4, 8, 8), 2))
    trainer.save_checkpoint(tmp_path / "rgba.ckpt")
    run("sample", "--ckpt_path", tmp_path / "rgba.ckpt", "--n=2", "--out=folder")
    image = np.asarray(Image.open(tmp_path / "folder" / "000001.png"))
    expected = ((model.sample(2, seed=0)[1] + 1) * 255 / 2).permute(1, 2, 0).numpy()
    assert np.abs(image - expected).max() < 0.51
