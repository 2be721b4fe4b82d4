import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from lightning.pytorch import Trainer

from datamodules import DigitsDataModule
from gan_modules import CGAN
from gan_modules.callbacks import FID
from gan_modules.metrics import DigitFeatures

SCRIPT = """
import json, sys
import torch
from lightning.pytorch import Trainer
from datamodules import DigitsDataModule
from gan_modules import CGAN
from gan_modules.callbacks import FID, SampleGrid
from gan_modules.metrics import DigitFeatures

torch.set_num_threads(1)
torch.manual_seed(0)
model = CGAN(image_shape=(1, 16, 16), latent_dim=8, hidden_dim=32)
with torch.no_grad():
    model.generator.embedding.weight.mul_(20)
folder = sys.argv[1]
trainer = Trainer(
    accelerator="cpu", devices=2, strategy="ddp", max_epochs=2, default_root_dir=folder, logger=False,
    enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    callbacks=[FID(DigitFeatures(), num_samples=500), SampleGrid(num_samples=20, every_n_steps=3)],
)
trainer.fit(model, DigitsDataModule(val_fraction=360 / 1797, batch_size=256))
score = trainer.callback_metrics["val/fd_digits"].item()
json.dump(score, open(f"{folder}/score_{trainer.global_rank}.json", "w"))
trainer.save_checkpoint(f"{folder}/last.ckpt")
"""


def test_two_processes_score_and_draw_as_one(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run([sys.executable, script, tmp_path], env=environment, check=True, timeout=200)
    scores = [json.loads((tmp_path / f"score_{rank}.json").read_text()) for rank in (0, 1)]
    assert scores[0] == scores[1]
    alone = Trainer(
        accelerator="cpu",
        logger=False,
        default_root_dir=tmp_path / "alone",
        enable_progress_bar=False,
        callbacks=FID(DigitFeatures(), num_samples=500),
    )
    (result,) = alone.validate(
        CGAN.load_from_checkpoint(tmp_path / "last.ckpt"),
        DigitsDataModule(val_fraction=360 / 1797, batch_size=100),
        verbose=False,
    )
    assert result == {"val/fd_digits": pytest.approx(scores[0], rel=1e-5)}
    pictures = [f"step_{n:08d}.png" for n in (0, 3, 4)]  # two rounds an epoch
    assert sorted(path.name for path in (tmp_path / "samples").iterdir()) == pictures
