"""The first validation images and what the model makes of them, at a glance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.nn.functional import interpolate

from gan_modules.callbacks.sampling import is_first_loader
from gan_modules.callbacks.translating import ends, pair
from gan_modules.errors import GANError
from gan_modules.families.capabilities import Translates, require
from gan_modules.families.translation import Direction
from gan_modules.visuals.pictures import image_grid
from gan_modules.visuals.publish import publish


class TranslationGrid(Callback):
    """Draw translations of the first validation images at every validation, and in its rehearsal before the fit.

    A row is an image: the input, the output, the way back (where the model knows one), the output for an image that
    is of the target side already (where channels allow), and the truth, where the sides are pairs. Writes
    ``samples/AtoB_step_00000500.png`` and so on in the run's folder and hands the pictures to TensorBoard, W&B and
    MLflow. All images of a picture are resized to the largest. Training goes on exactly as without.

    Args:
        num_images: Rows.
        paired: Whether the second image of a batch is what the first should become.

    Raises:
        GANError: If `num_images` is not positive; at the start, if the model does not translate.
    """

    def __init__(self, num_images: int = 8, paired: bool = False) -> None:
        if num_images < 1:
            raise GANError(f"TranslationGrid needs a positive number of images, got {num_images=}.")
        self.num_images = num_images
        self.paired = paired
        self._sides: tuple[list[Tensor], list[Tensor]] = ([], [])

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse, before any training, a model that cannot be drawn."""
        require(pl_module, Translates, "TranslationGrid")

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin with no images."""
        self._sides = ([], [])

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the first images."""
        if not is_first_loader(dataloader_idx, "TranslationGrid"):
            return
        for kept, images in zip(self._sides, pair(pl_module, batch, "TranslationGrid"), strict=True):
            kept.extend(images[: self.num_images - len(kept)])

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw, a picture a direction."""
        model = require(pl_module, Translates, "TranslationGrid")
        if not all(self._sides):
            return
        a, b = (torch.stack(images) for images in self._sides)
        for direction in cast(Sequence[Direction], model.directions):
            publish(trainer, self._picture(model, direction, *ends((a, b), direction)), direction, f"{direction}_")

    on_test_epoch_start = on_validation_epoch_start
    on_test_batch_end = on_validation_batch_end
    on_test_epoch_end = on_validation_epoch_end

    def _picture(self, model: Translates, direction: Direction, images: Tensor, others: Tensor) -> Tensor:
        outputs = model.translate(images, direction)
        columns = [images, outputs]
        for back in set(model.directions) - {direction}:
            columns.append(model.translate(outputs, back))
        if model.image_shape[0] == model.target_shape[0]:
            columns.append(model.translate(others, direction))
        if self.paired:
            columns.append(others)
        rows = min(map(len, columns))
        size = [max(sides) for sides in zip(*(column.shape[2:] for column in columns), strict=True)]
        cells = torch.stack([_cell(column[:rows], size) for column in columns], dim=1)
        return image_grid(cells.flatten(0, 1), nrow=len(columns))


def _cell(images: Tensor, size: list[int]) -> Tensor:
    """Return RGB images of a height and width."""
    images = images[:, :3] if images.shape[1] >= 3 else images[:, :1].expand(-1, 3, -1, -1)
    return images if list(images.shape[2:]) == size else interpolate(images, size)
