"""A picture's way to the run's folder and to the loggers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from torch import Tensor

from gan_modules.engine.run_folder import run_folder
from gan_modules.visuals.pictures import as_image

# how each kind of logger takes a picture: logger, title, picture (3, H, W) uint8, step; the others take none
LOG: dict[type[Logger], Callable[[Any, str, Tensor, int], None]] = {
    TensorBoardLogger: lambda logger, title, picture, step: logger.experiment.add_image(title, picture, step),
    WandbLogger: lambda logger, title, picture, step: logger.log_image(title, [as_image(picture)], step),
    MLFlowLogger: lambda logger, title, picture, step: logger.experiment.log_image(
        logger.run_id, as_image(picture), key=title, step=step
    ),
}


def publish(
    trainer: Trainer,
    picture: Tensor,
    title: str = "samples",
    file: str = "",
    save: Callable[[Path], None] | None = None,
) -> None:
    """Write an RGB picture ``(3, H, W)`` uint8 as PNG and hand it to the loggers, from the first process.

    TensorBoard, W&B and MLflow take pictures. Every process has to call it; see `run_folder`.

    Args:
        trainer: Knows the run's folder, the loggers and the step.
        picture: The picture.
        title: Its name in the loggers.
        file: What precedes ``step_00000500.png`` in the folder ``samples``.
        save: Writes files that belong to the picture, to the folder ``step_00000500`` beside it.
    """
    path = run_folder(trainer) / "samples" / f"{file}step_{trainer.global_step:08d}"
    if not trainer.is_global_zero:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    as_image(picture).save(path.with_suffix(".png"))
    if save is not None:
        save(path)
    for logger in trainer.loggers:
        for kind, log in LOG.items():
            if isinstance(logger, kind):
                log(logger, title, picture, trainer.global_step)
