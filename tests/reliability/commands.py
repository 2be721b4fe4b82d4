"""The real command line in a process of its own, with networks so small that two cores do."""

import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import torch

from gan_modules.cli import main

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(ROOT),
    "OMP_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "PYTHONUNBUFFERED": "1",
}
TINY_WGANGP = (
    "--model WGANGP --model.base_channels 4 --model.latent_dim 4 --model.n_critic 2 "
    "--data DigitsDataModule --data.image_size 8 --seed_everything 3 --trainer.accelerator cpu "
    "--trainer.logger CSVLogger --trainer.logger.save_dir . --trainer.log_every_n_steps 1 "
    "--trainer.enable_progress_bar false --trainer.enable_model_summary false "
    "--trainer.callbacks ModelCheckpoint --trainer.callbacks.save_top_k -1 --trainer.callbacks.save_last true"
)


def start(arguments, folder, environment=None):
    """Begin ``gan-modules …`` with everything it writes below `folder`, in a process group of its own."""
    command = [sys.executable, "-m", "gan_modules", *arguments.split()]
    folder.mkdir(exist_ok=True)
    return subprocess.Popen(
        command,
        cwd=folder,
        env=ENVIRONMENT | (environment or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run_here(arguments, folder):
    """Run ``gan-modules …`` to its end in this process, which saves the seconds of the imports."""
    torch.set_num_threads(1)
    folder.mkdir(exist_ok=True)
    before = os.getcwd()
    os.chdir(folder)
    try:
        with patch.object(sys, "argv", ["gan-modules", *arguments.split()]):
            main()
    finally:
        os.chdir(before)
