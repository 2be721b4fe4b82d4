"""Two gloo processes train an extension like one loop by hand on their joint batches."""

import os
import subprocess
import sys
from pathlib import Path

import by_hand
import joint_games
import pytest
import torch
from joint_games import GAMES, PROCESSES, SEED

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What two processes under torchrun have left."""
    folder = tmp_path_factory.mktemp("together")
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc_per_node",
        f"{PROCESSES}",
        joint_games.__file__,
    ]
    paths = f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([*command, str(folder)], env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", GAMES)
def test_two_processes_train_as_one_loop(name, folder):
    _, networks, batches, prior, by_pytorch = GAMES[name]
    joint = [
        tuple(torch.cat(columns) for columns in zip(*pair, strict=True))
        for pair in zip(
            *(batches(PROCESSES * by_hand.STEPS)[rank::PROCESSES] for rank in range(PROCESSES)), strict=True
        )
    ]
    noise = zip(*(by_hand.draws(prior, seed=SEED + rank) for rank in range(PROCESSES)), strict=True)
    model = joint_games.build(name)
    options = {"parts": PROCESSES} if name == "GANCLS" else {}
    expected = by_pytorch(model, joint, [torch.cat(pair) for pair in noise], **options)
    for rank in range(PROCESSES):
        model.double().load_state_dict(torch.load(folder / f"{name}_{rank}.pt"))
        by_hand.assert_same([getattr(model, network) for network in networks], expected)
