"""What `test_processes.py` runs under torchrun; alone, the same games in one process on the joint batch."""

import json
import os
import sys
from pathlib import Path
from unittest.mock import patch

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.strategies import ModelParallelStrategy
from torch.distributed.tensor import DTensor

from datamodules import DigitsDataModule, ToyDataModule
from gan_modules import CGAN, WGANGP, GANError
from gan_modules.functional import regularizers

torch.set_num_threads(1)
PROCESSES = int(os.environ.get("WORLD_SIZE", "1"))
RANK = int(os.environ.get("RANK", "0"))
CLIPPED = "clipped"
POINTS = {"point_shape": (2,), "latent_dim": 3, "hidden_dim": 16, "lr_g": 1e-3, "lr_d": 1e-3, "ema_half_life": 300}
GAMES = {
    "penalty, five critic updates": {"n_critic": 5},
    CLIPPED: {"n_critic": 2, "clip_norm": 0.05},
    "accumulated": {"n_critic": 2, "accumulate": 2, "clip_norm": 0.05},
    "R1": {"n_critic": 1, "gp_weight": 0.0, "decay_steps": 8},
}


class FixedNoise(WGANGP):
    """A game whose noise is a function of the reals, so that it is the same however they are spread."""

    r1_weight = 0.0

    def inputs(self, batch):
        self.noise = torch.sin(batch[0] @ torch.arange(2.0 * self.latent_dim).view(2, -1))
        return super().inputs(batch)

    def prior(self, n):
        return self.noise

    def discriminator_losses(self, x):
        with patch("torch.rand", lambda shape, **_: torch.full(shape, 0.3)):
            terms = super().discriminator_losses(x)
        if self.r1_weight:
            terms["r1"] = self.r1_weight * regularizers.r1(self.logits, x.real)
        return terms


class Notes(Callback):
    """The gradients of the first steps and the first number of each batch."""

    def __init__(self):
        self.gradients, self.reals = [], []

    def on_before_optimizer_step(self, trainer, module, optimizer):
        if len(self.gradients) < 3:
            grads = [p.grad.clone() for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
            self.gradients.append(grads)

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        self.reals.append(batch[0].flatten(1)[:, 0].clone())


def trainer(folder, steps=5, **options):
    options = {"logger": False, "callbacks": None, "devices": PROCESSES, "enable_checkpointing": False} | options
    return Trainer(
        accelerator="cpu",
        max_steps=steps,
        default_root_dir=folder,
        log_every_n_steps=1,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )


def play(name, folder):
    torch.manual_seed(5)
    game = FixedNoise(
        point_shape=(2,), latent_dim=3, hidden_dim=16, lr_g=1e-3, lr_d=1e-3, ema_half_life=300, **GAMES[name]
    )
    game.r1_weight = 3.0 * (name == "R1")
    notes, logger = Notes(), CSVLogger(folder, name, version="")
    trainer(folder, callbacks=[notes], logger=logger).fit(
        game, ToyDataModule(num_samples=1000, batch_size=64 // PROCESSES)
    )
    torch.save(
        {"state": game.state_dict(), "gradients": notes.gradients, "reals": notes.reals, "images": game.images_seen},
        folder / f"{name}_{RANK}.pt",
    )


class BlowsUp(CGAN):
    """A game that turns NaN in its third step on process 1 alone."""

    def generator_losses(self, x):
        terms = super().generator_losses(x)
        if self.global_rank == 1 and self.trainer.global_step == 2:
            terms["adversarial"] = terms["adversarial"] * float("nan")
        return terms


def not_a_number(folder):
    game = BlowsUp(image_shape=(1, 8, 8), latent_dim=4, hidden_dim=8)
    try:
        trainer(folder, steps=9).fit(game, DigitsDataModule(image_size=8, batch_size=16))
    except GANError as error:
        (folder / f"nan_{RANK}.json").write_text(json.dumps(str(error)))


def sharded(folder):
    """Both players and the average spread over the two processes, by FSDP2."""
    torch.manual_seed(5)
    game = FixedNoise(**POINTS, **GAMES[CLIPPED])
    strategy = ModelParallelStrategy(data_parallel_size=2, tensor_parallel_size=1)
    trainer(folder, strategy=strategy).fit(game, ToyDataModule(num_samples=1000, batch_size=32))
    assert all(isinstance(parameter, DTensor) for parameter in game.parameters())
    state = {name: tensor.full_tensor() for name, tensor in game.state_dict().items()}
    torch.save({"state": state, "images": game.images_seen}, folder / f"sharded_{RANK}.pt")


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    for name in GAMES:
        play(name, folder)
    if PROCESSES == 2:
        not_a_number(folder)
        sharded(folder)
        os._exit(0)  # FSDP2 holds on to gloo's threads, which may abort Python as it ends
