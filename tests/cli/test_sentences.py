"""What others say to the user (the parser, Lightning, a logger's library) ends in one sentence, too."""

import importlib.util

import pytest
import torch
import wandb
import yaml
from lightning.pytorch import Trainer

from datamodules import DigitsDataModule
from gan_modules import DCGAN, GANError

CPU = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
TINY = ["fit", "--model=DCGAN", "--model.base_channels=2", "--model.latent_dim=4", "--data=DigitsDataModule", *CPU]
TINY += ["--data.batch_size=4", "--trainer.max_steps=2", "--trainer.limit_val_batches=0"]


def added(name, **arguments):
    return ["--trainer.callbacks+", name, *(f"--trainer.callbacks.{key}={value}" for key, value in arguments.items())]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["--ckpt_path=best"],
            "--ckpt_path best: this command has no earlier best checkpoint; name the file, such as ",
        ),
        (added("EarlyStopping", monitor="val/none"), "Early stopping conditioned on metric `val/none` which is not "),
        (added("LearningRateFinder"), "LearningRateFinder looks for the rate of a single optimizer, and a game has "),
        (["--trainer.max_time=soon"], "`Timer(duration='soon'"),
        (["--trainer.strategy=dpp"], "You selected an invalid strategy name: `strategy='dpp'`."),
        (["--trainer.precision=12"], "--trainer.precision "),
        (["--trainer.accelerator=abacus"], "You selected an invalid accelerator name: `accelerator='abacus'`."),
        (["--trainer.val_check_interval=9999"], "`val_check_interval` (9999) must be less than or equal to the number"),
    ],
)
def test_lightnings_own(words, sentence, complaint):
    assert complaint(*[word for word in TINY if "val_batches" not in word or "interval" not in words[0]], *words)[
        : len(sentence)
    ] == sentence  # fmt: skip


def test_weights_alone_begin_no_training(complaint, run, tmp_path):
    run(*TINY, *added("ModelCheckpoint", save_weights_only="true", filename="weights", every_n_train_steps=1))
    path = next(tmp_path.rglob("weights.ckpt"))
    sentence = (
        "The checkpoint holds weights alone, and a training cannot go on without its optimizers: pass one that was "
        "saved without save_weights_only, or begin with these weights by GAN.load_from_checkpoint(path)."
    )
    assert complaint(*TINY, "--trainer.max_steps=3", "--ckpt_path", path) == sentence
    trainer = Trainer(max_steps=3, accelerator="cpu", logger=False, enable_progress_bar=False)
    with pytest.raises(GANError, match="holds weights alone"):
        trainer.fit(DCGAN((1, 16, 16), 4, 2), DigitsDataModule(batch_size=4), ckpt_path=path)
    run("sample", "--ckpt_path", path, "--n=1", "--out=grid.png")  # what it is for


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--trainer.callbacks=SampleGrids"], "There is no callback class 'SampleGrids', did you mean 'SampleGrid'? ("),
        (["--trainer.callbacks+=Scoers"], "There is no callback class 'Scoers', did you mean 'Scores'? (there are "),
        (["--trainer.logger=WandBLogger"], "There is no logger class 'WandBLogger', did you mean 'WandbLogger'?"),
        (
            ["--trainer.logger=gan_modules.Logger"],
            "--trainer.logger gan_modules.Logger: 'gan_modules' has no 'Logger'.",
        ),
        (["--trainer.callbacks=nowhere.Mine"], "--trainer.callbacks nowhere.Mine: there is no module 'nowhere' in "),
        (
            ["--trainer.logger=WandbLogger", "--trainer.logger.projet=x"],
            "WandbLogger takes no argument 'projet', did you mean 'project'?; see gan-modules fit --trainer.",
        ),
        (added("SampleGrid", every_n=3), "SampleGrid takes no argument 'every_n', did you mean 'every_n_steps'?; see "),
        (
            ['--trainer.callbacks+={"class_path": "FID", "init_args": {"features": "digits"}}'],
            "FID takes no argument 'features', did you mean 'feature'?; see gan-modules fit --trainer.callbacks.",
        ),
        (
            added("FID", feature="digits"),
            "--trainer.callbacks.feature: 'digits' is no class that fits here: name it with ",
        ),
        (
            added("SampleGrid", every_n_steps="often"),
            "--trainer.callbacks.every_n_steps takes a whole number, not 'often'.",
        ),
    ],
)
def test_the_trainers_classes_and_their_arguments(words, sentence, complaint):
    assert complaint(*TINY, *words)[: len(sentence)] == sentence


def test_the_trainers_classes_in_a_configuration(complaint, run, tmp_path):
    listed = [{"class_path": "SampleGrid", "init_args": {"every_n": 3}}]
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"trainer": {"callbacks": listed}}))
    sentence = "SampleGrid takes no argument 'every_n', did you mean 'every_n_steps'?; see gan-modules fit "
    assert complaint(*TINY, "--config=mine.yaml").startswith(sentence)
    listed = [{"class_path": "gan_modules.callbacks.SampleGrid", "init_args": {"every_n_steps": 1}}]
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"trainer": {"callbacks": listed}}))
    run(*TINY, "--config=mine.yaml")
    assert len(list(tmp_path.rglob("samples/step_0000000?.png"))) == 3


@pytest.mark.parametrize(("words", "missing"), [(["fit", "--model=DCGAN"], "--data"), (["sample"], "--ckpt_path")])
def test_what_is_required_is_named_as_it_is_given(words, missing, complaint, request):
    assert complaint(*words) == f"the following arguments are required: {missing}"


def test_a_missing_key_of_wandb(complaint, monkeypatch, request, tmp_path):
    request.addfinalizer(wandb.teardown)  # which else remembers for later runs of this process that there is no key
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    said = complaint(*TINY, "--trainer.logger=WandbLogger")
    assert "API key" in said
    assert "keep the run on this machine by --trainer.logger.offline=true, or leave --trainer.logger out." in said


@pytest.mark.skipif(importlib.util.find_spec("comet_ml") is not None, reason="comet is installed")
def test_a_logger_whose_library_is_not_installed(complaint):
    assert "comet" in complaint(*TINY, "--trainer.logger=CometLogger")


def test_a_defect_in_our_code_keeps_its_traceback(run, monkeypatch):
    monkeypatch.setattr("gan_modules.engine.loop.count_step", lambda _: torch.zeros(1).nothing)
    with pytest.raises(AttributeError, match="nothing"):
        run(*TINY)


def test_help_explains_the_arguments_that_a_model_hands_on(run, capsys):
    for model in ("DCGAN", "Pix2Pix"):
        with pytest.raises(SystemExit) as stopped:
            run("fit", "--model.help", model)
        assert stopped.value.code == 0
        said = " ".join(capsys.readouterr().out.split())
        assert "Half-life of the generator's moving average, in images, and never more than a twentieth" in said
        assert "Parts in which each batch is played to save memory; the update is that of the whole batch" in said
        assert "(default: 1) (type: int)" in said
        assert "gradients as they are. (default: null) (type: float | null)" in said
        assert "torch.nn.Identity" not in said
