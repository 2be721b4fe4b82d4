"""The real command line in a process of its own, with networks so small that two cores do."""

import os
import subprocess
import sys
from pathlib import Path

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
    "--data DigitsDataModule --data.image_size 8 --data.batch_size 64 --seed_everything 3 --trainer.accelerator cpu "
    "--trainer.logger CSVLogger --trainer.logger.save_dir . --trainer.log_every_n_steps 1 "
    "--trainer.enable_progress_bar false --trainer.enable_model_summary false "
    "--trainer.callbacks ModelCheckpoint --trainer.callbacks.save_top_k -1 --trainer.callbacks.save_last true"
)


def start(arguments, folder, **options):
    """Begin ``gan-modules …`` with everything it writes below `folder`, in a process group of its own."""
    command = [sys.executable, "-m", "gan_modules", *arguments.split()]
    folder.mkdir(exist_ok=True)
    return subprocess.Popen(
        command,
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        **options,
    )


def run(arguments, folder, timeout=120):
    """Run ``gan-modules …`` to its end and return its exit status and what it said."""
    process = start(arguments, folder)
    said, _ = process.communicate(timeout=timeout)
    return process.returncode, said
