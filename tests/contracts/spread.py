"""What `test_contracts_ddp.py` runs under torchrun; alone, the same games in one process on the joint batches."""

import os
import sys
from pathlib import Path

import torch
from cases import MODELS, batches, build
from training import FixedNoise, batches_of_steps, fit

torch.set_num_threads(1)
PROCESSES = int(os.environ.get("WORLD_SIZE", "1"))
RANK = int(os.environ.get("RANK", "0"))


def train(name):
    """Each process takes its half of each batch of 12."""
    model = build(name)
    joint = batches(name, batches_of_steps(model, 3), size=12)
    own = [tuple(part[RANK * 12 // PROCESSES :][: 12 // PROCESSES] for part in batch) for batch in joint]
    with FixedNoise():
        fit(model, own, max_steps=3, precision="64-true", devices=PROCESSES)
    return {"state": model.state_dict(), "images_seen": model.images_seen, "noise": torch.rand(4)}


if __name__ == "__main__":
    for name in MODELS:
        torch.save(train(name), Path(sys.argv[1]) / f"{name}_{RANK}.pt")
