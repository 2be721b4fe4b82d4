"""Two processes: parameters that only one of them gives a gradient get that of the joint batch all the same."""

import os
import subprocess
import sys
from pathlib import Path

import torch

SCRIPT = """
import os, sys
from functools import partial

import torch
from lightning.pytorch import Trainer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from gan_modules.engine.inputs import Inputs
from gan_modules.families.latent import LatentGAN

torch.set_num_threads(1)
folder, devices = sys.argv[1], int(sys.argv[2])
rank = int(os.environ.get("LOCAL_RANK", 0))


class Experts(nn.Module):
    '''Each half of the points has a network of its own, and the third has none; a module that is left out for lack of
    points has no gradient, not even 0.'''

    def __init__(self):
        super().__init__()
        self.experts = nn.ModuleList(nn.Linear(2, 2) for _ in range(3))

    def forward(self, points):
        right = points[:, 0] > 0
        parts = [self.experts[side](points[right == side]) for side in (0, 1) if (right == side).any()]
        return torch.cat(parts)


class Game(LatentGAN):
    def __init__(self):
        critic = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))
        adam = partial(torch.optim.Adam, lr=0.1)
        sizes = {"point_shape": (2,), "latent_dim": 2, "ema_half_life": 0}
        super().__init__(Experts(), critic, optimizer_g=adam, optimizer_d=adam, **sizes)

    def generate(self, x):
        return self.generator(x.real)

    def discriminator_losses(self, x):
        return {"least_squares": (self.logits(x.real) - 1).square().mean() + self.logits(x.fake).square().mean()}

    def generator_losses(self, x):
        return {"least_squares": (self.logits(x.fake) - 1).square().mean()}


torch.manual_seed(0)
model = Game().double()
points = torch.randn(16, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
points[:, 0] = points[:, 0].abs() * torch.tensor([-1.0, 1.0]).repeat(8)  # left, right, left, right, …
if devices == 2:  # one process sees the left half alone, the other the right half
    points = points[rank::2]
data = DataLoader(TensorDataset(points), 8 // devices)
strategy = {"strategy": "ddp"} if devices == 2 else {}
trainer = Trainer(
    accelerator="cpu", devices=devices, max_epochs=3, logger=False, enable_checkpointing=False, precision="64-true",
    enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False, **strategy,
)
trainer.fit(model, data)
state = {"networks": model.state_dict(), "adam": {}, "images_seen": model.images_seen}
for name, parameter in model.named_parameters():
    moments = [optimizer.state[parameter] for optimizer in trainer.optimizers if parameter in optimizer.state]
    state["adam"][name] = moments[0] if moments else None
torch.save(state, f"{folder}/{devices}_{rank}.pt")
"""


def test_two_processes_are_one_with_the_joint_batch(tmp_path):
    (tmp_path / "train.py").write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "CUDA_VISIBLE_DEVICES": ""}
    for devices in ("1", "2"):
        command = [sys.executable, tmp_path / "train.py", tmp_path, devices]
        subprocess.run(command, env=environment, check=True, timeout=200)
    alone, first, second = (torch.load(tmp_path / f"{name}.pt") for name in ("1_0", "2_0", "2_1"))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    torch.testing.assert_close(first, alone, rtol=0, atol=1e-9)
    steps = {name: moments and int(moments["step"]) for name, moments in alone["adam"].items()}
    assert {steps[f"generator.experts.{side}.weight"] for side in (0, 1)} == {6}
    assert steps["generator.experts.2.weight"] is None  # no process has a gradient for it
    assert alone["images_seen"] == 48
