"""Two gloo processes play the game of one: gradients, weights, logs; and none waits for the dead."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import two_processes
from commands import ENVIRONMENT, TINY_WGANGP, start
from lightning.pytorch import Trainer

from datamodules import ToyDataModule
from gan_modules import WGANGP

HERE = two_processes.__file__


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """What two processes under torchrun have left."""
    folder = tmp_path_factory.mktemp("together")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", HERE, str(folder)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    assert "find_unused_parameters" not in done.stderr
    return folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The same games, by one process on the joint batch."""
    folder = tmp_path_factory.mktemp("alone")
    for name in two_processes.GAMES:
        two_processes.play(name, folder)
    return folder


def rows(path):
    return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(path.open())]


@pytest.mark.slow
@pytest.mark.parametrize("name", two_processes.GAMES)
def test_gradients_weights_and_logs_equal_one_process(name, together, alone):
    one = torch.load(alone / f"{name}_0.pt")
    two = [torch.load(together / f"{name}_{rank}.pt") for rank in (0, 1)]
    for rank in (0, 1):
        torch.testing.assert_close(two[rank]["gradients"], one["gradients"], rtol=0, atol=1e-5)
        torch.testing.assert_close(two[rank]["state"], one["state"], rtol=0, atol=1e-5)
        assert two[rank]["images"] == one["images"]
    torch.testing.assert_close(two[0]["state"], two[1]["state"], rtol=0, atol=0)
    for joint, first, second in zip(one["reals"], two[0]["reals"], two[1]["reals"], strict=True):
        assert torch.equal(torch.stack([first, second], 1).flatten(), joint)
    logged, expected = rows(together / name / "metrics.csv"), rows(alone / name / "metrics.csv")
    assert len(logged) == len(expected) == 5
    for ours, theirs in zip(logged, expected, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)
    moved = two_processes.FixedNoise(point_shape=(2,), latent_dim=3, hidden_dim=16).state_dict()
    assert max((moved[key] - value).abs().max() for key, value in one["state"].items()) > 1e-2


@pytest.mark.slow
def test_not_a_number_in_one_process_stops_both_with_the_same_words(together):
    first, second = (json.loads((together / f"nan_{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    assert "generator's loss term 'adversarial' became nan in step 2" in first


@pytest.mark.slow
def test_sharded_networks_equal_one_process(together, alone):
    one = torch.load(alone / f"{two_processes.CLIPPED}_0.pt")
    for rank in (0, 1):
        two = torch.load(together / f"sharded_{rank}.pt")
        torch.testing.assert_close(two["state"], one["state"], rtol=0, atol=1e-5)
        assert two["images"] == one["images"]


def test_a_notebook_trains_two_processes(tmp_path):
    model = WGANGP(point_shape=(2,), latent_dim=4, hidden_dim=8, n_critic=2)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    trainer = Trainer(
        accelerator="cpu",
        devices=2,
        strategy="ddp_notebook",
        max_steps=3,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(model, ToyDataModule(num_samples=1000, batch_size=16))
    after = model.state_dict()
    assert all(not torch.equal(after[name], before[name]) for name in before if name.endswith("weight"))
    assert all(tensor.isfinite().all() for tensor in after.values())


def children(pid):
    """The processes that `pid` has started and that run."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                state, parent = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[:2]
            except OSError:
                continue
            if int(parent) == pid and state != "Z":
                found.append(int(entry))
    return found


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds the second process in /proc")
def test_a_dead_process_ends_the_other_within_a_minute(tmp_path):
    arguments = f"fit {TINY_WGANGP} --trainer.callbacks.dirpath {tmp_path} --trainer.callbacks.every_n_train_steps 5"
    process = start(f"{arguments} --trainer.max_steps 100000 --trainer.devices 2", tmp_path)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("*.ckpt")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (second,) = children(process.pid)
    os.kill(second, signal.SIGKILL)
    begun = time.monotonic()
    said, _ = process.communicate(timeout=60)
    print(f"ended {time.monotonic() - begun:.1f} s after the other")
    assert process.returncode != 0
    assert "Another process of this run has ended" in said


SURVIVOR = """
import json, os, sys, time
import torch
from lightning.pytorch import Callback, Trainer
from datamodules import ToyDataModule
from gan_modules import WGANGP, GANError
from gan_modules.engine import distributed

how, folder = sys.argv[1:]
torch.set_num_threads(1)
distributed.GRACE = 1.0 if how == "hangs" else distributed.GRACE


class Dies(Callback):
    def on_train_batch_end(self, trainer, model, *_):
        if trainer.global_rank == 1:
            os._exit(1)
        if how == "hangs":
            time.sleep(200)
        strategy, one = trainer.strategy, torch.ones(1)
        found = {}
        for name, message in {
            "barrier": strategy.barrier,
            "broadcast": lambda: strategy.broadcast("a path"),
            "reduce": lambda: strategy.reduce(one),
            "all_gather": lambda: strategy.all_gather(one),
            "reduce_boolean_decision": lambda: strategy.reduce_boolean_decision(True),
            "save_checkpoint": lambda: trainer.save_checkpoint(folder + "/lost.ckpt", weights_only=True),
            "logged": lambda: model.all_gather(one),
        }.items():
            try:
                message()
            except GANError as error:
                found[name] = str(error)
            except Exception as error:
                found[name] = f"unexplained: {error}"
            else:
                found[name] = "no error"
        time.sleep(7)  # longer than Lightning lets the others live
        json.dump(found, open(folder + "/found.json", "w"))
        os._exit(0)


Trainer(
    accelerator="cpu", devices=2, max_steps=3, logger=False, enable_checkpointing=False, enable_progress_bar=False,
    enable_model_summary=False, default_root_dir=folder, callbacks=[Dies()],
).fit(WGANGP(point_shape=(2,), latent_dim=2, hidden_dim=4, n_critic=1), ToyDataModule(num_samples=400, batch_size=16))
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["talks", "hangs"])
def test_a_lost_process_is_explained_wherever_it_is_noticed(how, tmp_path):
    """By each message of Lightning's; and by a process that Lightning kills since it sends none."""
    script = tmp_path / "survivor.py"
    script.write_text(SURVIVOR)
    command = [sys.executable, str(script), how, str(tmp_path)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=200)
    if how == "hangs":
        assert done.returncode == -signal.SIGKILL
        assert "Another process of this run has ended" in done.stderr
        return
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert len(found) == 7
    for message, sentence in found.items():
        assert sentence.startswith("Another process of this run has ended"), (message, sentence)
