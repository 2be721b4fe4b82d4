"""Two processes without a flag play the game of one on the joint batch, whatever the model."""

import os
import subprocess
import sys
from pathlib import Path

import cases
import pytest
import spread
import torch
from training import assert_equal_state

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What two processes under torchrun have left of all models."""
    folder = tmp_path_factory.mktemp("spread")
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "contracts")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", spread.__file__, str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    assert "find_unused_parameters" not in done.stderr
    return folder


def test_two_processes_play_the_game_of_one(name, folder):
    first, second = (torch.load(folder / f"{name}_{rank}.pt") for rank in (0, 1))
    floats = {key for key, tensor in first["state"].items() if tensor.is_floating_point()}
    for key in floats:
        assert first["state"][key].isfinite().all(), key
        assert torch.equal(first["state"][key], second["state"][key]), f"{key} differs between the processes"
    assert not torch.equal(first["noise"], second["noise"]), "both processes draw the same noise"
    one = spread.train(name)
    assert one["images_seen"] == first["images_seen"] == second["images_seen"]
    if not cases.case(name).couples:
        assert_equal_state(first["state"], one["state"], 1e-9)
