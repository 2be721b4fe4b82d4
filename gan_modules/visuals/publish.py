"""A picture's way to the run's folder and to the loggers."""

from __future__ import annotations

from pathlib import Path

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from torch import Tensor

from gan_modules.visuals.pictures import as_image


def publish(trainer: Trainer, picture: Tensor, title: str = "samples", file: str = "") -> None:
    """Write an RGB picture ``(3, H, W)`` uint8 as PNG, and hand it to TensorBoard and W&B, from the first process.

    Every process has to call it, since the trainer's `log_dir` needs them all.

    Args:
        trainer: Knows the run's folder, the loggers and the round.
        picture: The picture.
        title: Its name in the loggers.
        file: What precedes ``round_00000500.png`` in the folder ``samples``.
    """
    folder = Path(trainer.log_dir or trainer.default_root_dir) / "samples"
    if not trainer.is_global_zero:
        return
    image = as_image(picture)
    folder.mkdir(parents=True, exist_ok=True)
    image.save(folder / f"{file}round_{trainer.global_step:08d}.png")
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(title, picture, trainer.global_step)
        elif isinstance(logger, WandbLogger):
            logger.log_image(title, [image], trainer.global_step)
