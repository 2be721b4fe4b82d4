"""A run killed by SIGKILL and continued equals one that was never stopped, bit for bit."""

import csv
import os
import signal
import time

import pytest
import torch
from commands import TINY_WGANGP, run_here, start

from gan_modules import GAN
from gan_modules.engine.checkpoint import read_checkpoint

STEPS = 30
KILLED_AFTER = 15  # in the second epoch of 22 batches, or in the third of 11, begun in the middle of a step


def command(folder, devices, workers):
    return (
        f"fit {TINY_WGANGP} --trainer.max_steps {STEPS} --model.decay_steps 40 --model.clip_norm 1 "
        f"--trainer.callbacks.dirpath {folder} --trainer.callbacks.every_n_train_steps 3 "
        f"--trainer.callbacks.filename kept_{{step}} --data.num_workers {workers} "
        f"--trainer.devices {devices} --trainer.strategy {'ddp_fork' if devices > 1 else 'auto'}"
    )


def logged(folder):
    rows = {}
    for path in sorted(folder.rglob("metrics.csv")):
        for row in csv.DictReader(path.open()):
            rows.setdefault(int(row["step"]), []).append({k: v for k, v in row.items() if k != "epoch"})
    return rows


def differences(one, other, path):
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        for key in one:
            yield from differences(one[key], other[key], f"{path}.{key}")
    elif isinstance(one, list | tuple) and type(one) is type(other) and len(one) == len(other):
        for index, (a, b) in enumerate(zip(one, other, strict=True)):
            yield from differences(a, b, f"{path}.{index}")
    elif not (torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other):
        yield path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("devices", "workers"),
    [(1, 0), (2, 2), pytest.param(1, 2, marks=pytest.mark.full), pytest.param(2, 0, marks=pytest.mark.full)],
)
def test_killed_and_continued_equals_never_stopped(devices, workers, tmp_path):
    run_here(command(tmp_path / "whole" / "saved", devices, workers), tmp_path / "whole")
    folder = tmp_path / "killed"
    process = start(command(folder / "saved", devices, workers), folder)
    deadline = time.monotonic() + 100
    while not (folder / "saved" / f"kept_step={KILLED_AFTER}.ckpt").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()
    saved = sorted((folder / "saved").glob("kept_*.ckpt"), key=lambda path: int(path.stem.partition("=")[2]))
    steps = [read_checkpoint(path)["global_step"] for path in saved]  # every file there is whole
    assert KILLED_AFTER <= steps[-1] < STEPS

    run_here(command(folder / "saved", devices, workers) + f" --ckpt_path {saved[-1]}", folder)

    expected, got = (read_checkpoint(tmp_path / name / "saved" / "last.ckpt") for name in ("whole", "killed"))
    assert got["global_step"] == STEPS
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "gan_modules"):
        assert not list(differences(got[part], expected[part], part))
    first, second = (
        GAN.load_from_checkpoint(tmp_path / name / "saved" / "last.ckpt").sample(9, seed=1)
        for name in ("whole", "killed")
    )
    assert torch.equal(first, second)
    whole, rejoined = logged(tmp_path / "whole"), logged(folder)
    assert sorted(whole) == list(range(STEPS))
    assert {len(rows) for rows in whole.values()} == {1}  # the first process alone writes
    print(f"{STEPS - steps[-1]} steps after the kill in step {steps[-1]} equal, {devices=}, {workers=}")
    assert all(rejoined[step][-1] == whole[step][-1] for step in range(steps[-1], STEPS))
