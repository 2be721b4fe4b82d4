"""What `test_extensions_ddp.py` runs under torchrun: each process plays on batches and noise of its own."""

import os
import sys
from pathlib import Path

import by_hand
import test_bigan
import test_infogan
import test_text
import torch

PROCESSES = 2
SEED = 3
# by name: the model, its networks, all batches, a prior written anew, and the loop by hand
GAMES = {
    "BiGAN": (
        test_bigan.BiGAN,
        ("generator", "encoder", "discriminator"),
        test_bigan.batches,
        by_hand.normal(test_bigan.LATENT),
        test_bigan.by_pytorch,
    ),
    "InfoGAN": (
        test_infogan.InfoGAN,
        ("generator", "discriminator", "q"),
        test_infogan.batches,
        test_infogan.prior,
        test_infogan.by_pytorch,
    ),
    # a caption is wrong for a sample of the same process, as it is of the same part
    "GANCLS": (
        test_text.GANCLS,
        ("generator", "discriminator"),
        test_text.batches,
        by_hand.normal(test_text.LATENT),
        test_text.by_pytorch,
    ),
}


def build(name):
    torch.manual_seed(11)
    return GAMES[name][0]()


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder, rank = Path(sys.argv[1]), int(os.environ["RANK"])
    for name, (_, _, batches, *_) in GAMES.items():
        model = build(name)
        own = batches(PROCESSES * by_hand.STEPS)[rank::PROCESSES]
        by_hand.fit(model, own, seed=SEED, devices=PROCESSES)
        torch.save(model.state_dict(), folder / f"{name}_{rank}.pt")
