"""Each run has a folder of its own, whatever logs it; a run that is continued goes on in its folder."""

import csv
import json
import os

import pytest
import torch
import yaml
from PIL import Image

CPU = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
TINY = ["--model=DCGAN", "--model.base_channels=2", "--model.latent_dim=4", "--data=DigitsDataModule", *CPU]
TINY += ["--data.batch_size=4", "--trainer.limit_val_batches=2", "--trainer.num_sanity_val_steps=0"]
TINY += ["--trainer.log_every_n_steps=1"]
SCORES = {"class_path": "gan_modules.callbacks.Scores", "init_args": {"metrics": ["fid"], "features": "digits"}}
WATCHED = [f"--trainer.callbacks+={json.dumps(SCORES)}", "--trainer.val_check_interval=2"]
LOGGERS = {
    "csv": [],
    "none": ["--trainer.logger=false"],
    "tensorboard": ["--trainer.logger=TensorBoardLogger", "--trainer.logger.save_dir=logs"],
    "wandb": ["--trainer.logger=WandbLogger", "--trainer.logger.offline=true"],
    "mlflow": ["--trainer.logger=MLFlowLogger", "--trainer.logger.save_dir={here}/mlruns"],
}


@pytest.fixture(autouse=True)
def _loggers_that_need_no_account(monkeypatch):
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")


@pytest.fixture(autouse=True)
def _no_wandb_run_goes_on():
    yield
    import wandb

    wandb.finish()


def folders(root):
    """The folders that hold a run's checkpoints."""
    return {path.parents[1] for path in root.rglob("last.ckpt")}


@pytest.mark.parametrize("logger", LOGGERS)
def test_two_runs_in_one_place_share_nothing(logger, run, tmp_path):
    (tmp_path / "config.yaml").write_text("# mine\nseed_everything: 3\n")
    words = ["fit", "--config", "config.yaml", *TINY, *WATCHED, "--trainer.max_steps=2"]
    words += [word.format(here=tmp_path) for word in LOGGERS[logger]]
    said = run(*words)
    (first,) = folders(tmp_path)
    assert f"everything is in {os.path.relpath(first, tmp_path)}" in said.replace(f"{tmp_path}/", "")
    left = {path: path.read_bytes() for path in first.rglob("*") if path.suffix in (".png", ".yaml", ".jsonl", ".ckpt")}
    names = {path.name for path in left}
    assert names >= {"step_00000000.png", "step_00000002.png", "config.yaml", "scores.jsonl", "last.ckpt"}
    if logger == "wandb":
        import wandb

        wandb.finish()
    run(*words, "--seed_everything=4")
    (second,) = folders(tmp_path) - {first}
    assert {path: path.read_bytes() for path in left} == left
    assert len((second / "scores.jsonl").read_text().splitlines()) == 1
    assert (tmp_path / "config.yaml").read_text() == "# mine\nseed_everything: 3\n"
    assert [yaml.safe_load((run / "config.yaml").read_text())["seed_everything"] for run in (first, second)] == [3, 4]

    checkpoint = second / "checkpoints" / "last.ckpt"
    run("score", "--ckpt_path", checkpoint, "--metrics", "fid", "--features", "digits", "--n=20")
    assert len((second / "scores.jsonl").read_text().splitlines()) == 2


def rows(folder):
    with (folder / "metrics.csv").open(newline="") as lines:
        return [{name: value for name, value in row.items() if value} for row in csv.DictReader(lines)]


def test_a_continued_run_goes_on_in_its_folder_and_curves(run, tmp_path):
    words = ["fit", *TINY, *WATCHED]
    run(*words, "--trainer.max_steps=8", "--trainer.default_root_dir=whole")
    run(*words, "--trainer.max_steps=4")
    (folder,) = folders(tmp_path / "runs")
    before = (folder / "config.yaml").read_text()
    said = run(*words, "--trainer.max_steps=8", "--ckpt_path", folder / "checkpoints" / "last.ckpt")
    assert f"everything is in {folder}" in said.replace(" runs/", f" {tmp_path}/runs/")
    assert folders(tmp_path / "runs") == {folder}
    assert len(list(folder.parent.iterdir())) == 1
    (whole,) = folders(tmp_path / "whole")
    steps = [row["step"] for row in rows(whole)]
    assert [row["step"] for row in rows(folder)] == steps
    for ours, theirs in zip(rows(folder), rows(whole), strict=True):
        for name in ours.keys() & {"generator/loss", "val/fd_digits"}:
            assert float(ours[name]) == pytest.approx(float(theirs[name]), rel=1e-5)
    assert (folder / "config.yaml").read_text() == before
    assert yaml.safe_load((folder / "config_2.yaml").read_text())["trainer"]["max_steps"] == 8
    assert torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 8
    pictures = {path.name for path in (folder / "samples").iterdir()}
    assert pictures == {f"step_{step:08d}.png" for step in (0, 4, 8)}
    images = [Image.open(run / "samples" / "step_00000008.png").tobytes() for run in (folder, whole)]
    assert images[0] == images[1]


def test_rows_after_the_checkpoint_come_once(run, tmp_path):
    """A killed run has logged more than its newest checkpoint knows of."""
    words = ["fit", *TINY, "--trainer.limit_val_batches=0"]
    run(*words, "--trainer.max_steps=2")
    (folder,) = folders(tmp_path)
    kept = rows(folder)
    with (folder / "metrics.csv").open("a", newline="") as file:
        header = (folder / "metrics.csv").read_text().splitlines()[0].split(",")
        csv.DictWriter(file, header).writerow({"step": 2, "generator/loss": 99.0})
    run(*words, "--trainer.max_steps=3", "--ckpt_path", folder / "checkpoints" / "last.ckpt")
    now = rows(folder)
    assert now[: len(kept)] == kept
    assert [row["step"] for row in now] == ["0", "1", "2"]
    assert now[-1]["generator/loss"] != "99.0"


@pytest.mark.parametrize("logger", ["none", "tensorboard", "wandb", "mlflow"])
def test_other_loggers_go_on_in_their_folders(logger, run, tmp_path):
    words = ["fit", *TINY, "--trainer.limit_val_batches=0", *(word.format(here=tmp_path) for word in LOGGERS[logger])]
    run(*words, "--trainer.max_steps=1")
    (folder,) = folders(tmp_path)
    if logger == "wandb":
        import wandb

        wandb.finish()
    run(*words, "--trainer.max_steps=2", "--ckpt_path", folder / "checkpoints" / "last.ckpt")
    assert folders(tmp_path) == {folder}
    assert {path.name for path in (folder / "samples").iterdir()} == {f"step_{step:08d}.png" for step in range(3)}


def test_what_begins_at_an_older_checkpoint_is_a_run_of_its_own(run, tmp_path):
    words = ["fit", *TINY, "--trainer.limit_val_batches=0"]
    run(*words, "--trainer.max_steps=2")
    (folder,) = folders(tmp_path)
    older = folder / "checkpoints" / "older.ckpt"
    older.write_bytes((folder / "checkpoints" / "last.ckpt").read_bytes())
    os.utime(older, (0, 0))
    left = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    run(*words, "--trainer.max_steps=3", "--ckpt_path", older)
    assert {path: path.read_bytes() for path in left} == left
    (other,) = folders(tmp_path) - {folder}
    assert [row["step"] for row in rows(other)] == ["2"]


@pytest.mark.parametrize("limit", ["max_steps=2", "max_epochs=1"])
def test_a_finished_run_is_already_complete(limit, run, tmp_path):
    words = ["fit", *TINY, "--trainer.limit_val_batches=0", "--trainer.limit_train_batches=2", f"--trainer.{limit}"]
    run(*words)
    (folder,) = folders(tmp_path)
    left = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    said = run(*words, "--ckpt_path", folder / "checkpoints" / "last.ckpt")
    assert said.startswith("Already complete: ")
    assert "has played all 2 steps; to go on, raise --trainer.max_steps or" in said
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == left
