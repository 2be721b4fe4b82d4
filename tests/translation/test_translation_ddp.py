"""Two processes: both games train, CycleGAN as one process on the joint batch, and each keeps a pool of its own."""

import os
import subprocess
import sys
from pathlib import Path

import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader, TensorDataset

from gan_modules import CycleGAN, Pix2Pix

SCRIPT = """
import os, sys
import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader, TensorDataset
from gan_modules import CycleGAN, Pix2Pix

torch.set_num_threads(1)
folder, rank = sys.argv[1], int(os.environ.get("LOCAL_RANK", 0))
a, b = torch.load(f"{folder}/data.pt")


def fit(model, name):
    trainer = Trainer(
        accelerator="cpu", devices=2, strategy="ddp", max_epochs=2, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False, precision="64-true",
    )
    trainer.fit(model.double(), DataLoader(TensorDataset(a[rank::2], b[rank::2]), 2))
    trainer.save_checkpoint(f"{folder}/{name}.ckpt")
    torch.save(model.state_dict(), f"{folder}/{name}_{rank}.pt")


torch.manual_seed(0)
tiny = {"base_channels": 2, "discriminator_channels": 2, "patch_layers": 1}
cyclegan = CycleGAN((3, 16, 16), generator="resnet_1", pool_size=100, **tiny)
if rank == 0:
    torch.save(cyclegan.state_dict(), f"{folder}/before.pt")
fit(cyclegan, "cyclegan")
torch.save(cyclegan.pools["BtoA"].state_dict(), f"{folder}/pool_{rank}.pt")
torch.manual_seed(0)
fit(Pix2Pix((3, 16, 16), dropout=False, **tiny), "pix2pix")
"""


def test_two_processes(tmp_path):
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    a, b = torch.rand(2, 8, 3, 16, 16, generator=generator, dtype=torch.float64) * 2 - 1
    torch.save([a, b], tmp_path / "data.pt")
    (tmp_path / "train.py").write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run([sys.executable, tmp_path / "train.py", tmp_path], env=environment, check=True, timeout=200)

    for name in ("cyclegan", "pix2pix"):  # both ranks hold the same weights, which have moved
        ours, theirs = (torch.load(tmp_path / f"{name}_{rank}.pt") for rank in (0, 1))
        weights = [key for key in ours if "running" not in key]
        assert all(torch.equal(ours[key], theirs[key]) for key in weights)
        assert all(ours[key].isfinite().all() for key in weights)

    tiny = {"base_channels": 2, "discriminator_channels": 2, "patch_layers": 1}
    # rank r reads every second sample from r on, so the joint batches are the samples in order
    alone = CycleGAN((3, 16, 16), generator="resnet_1", pool_size=100, **tiny)
    alone.load_state_dict(torch.load(tmp_path / "before.pt"))
    trainer = Trainer(
        accelerator="cpu", max_epochs=2, logger=False, enable_checkpointing=False, precision="64-true",
        enable_progress_bar=False,
    )  # fmt: skip
    trainer.fit(alone.double(), DataLoader(TensorDataset(a, b), 4))
    joint = torch.load(tmp_path / "cyclegan_0.pt")
    for key, tensor in alone.state_dict().items():
        torch.testing.assert_close(tensor, joint[key], rtol=0, atol=1e-6)
    assert Pix2Pix.load_from_checkpoint(tmp_path / "pix2pix.ckpt").images_seen == 16

    pools = [torch.load(tmp_path / f"pool_{rank}.pt") for rank in (0, 1)]
    processes = torch.load(tmp_path / "cyclegan.ckpt", weights_only=True)["gan_modules"]["processes"]
    for pool, process in zip(pools, processes, strict=True):
        saved = process["extra"]["image_pool_BtoA"]
        assert torch.equal(saved["images"], pool["images"])
        assert torch.equal(saved["random"], pool["random"])
    assert not torch.equal(pools[0]["images"], pools[1]["images"])
