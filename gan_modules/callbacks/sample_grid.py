"""The same latents, drawn again and again: what a GAN has learned, at a glance."""

from __future__ import annotations

from collections.abc import Sequence

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from gan_modules.callbacks.sampling import as_sampler, reals
from gan_modules.engine.seeds import check_seed
from gan_modules.errors import GANError
from gan_modules.scoring.generation import Sampler
from gan_modules.visuals.pictures import image_grid, scatter
from gan_modules.visuals.publish import publish


class SampleGrid(Callback):
    """Draw samples from fixed latents before the first round, every few rounds, and at the end of the fit.

    Writes ``samples/round_00000500.png`` in the run's folder and hands the same picture to TensorBoard and W&B. A
    model with classes gets a column for each; points in the plane are drawn over the first batch of reals.
    Training goes on exactly as without: samples have a random generator of their own.

    Args:
        num_samples: Images in the grid (in whole rows, where columns are classes), or points in the plane; by
            default 64 images or 4096 points.
        every_n_steps: Rounds (optimizer steps of the generator) between two pictures.
        seed: Seed of the latents.

    Raises:
        GANError: If a number is not positive, or the seed out of torch's range; at the start of the fit, if the model's
            samples cannot be drawn.
    """

    def __init__(self, num_samples: int | None = None, every_n_steps: int = 500, seed: int = 0) -> None:
        if every_n_steps < 1 or (num_samples is not None and num_samples < 1):
            raise GANError(f"SampleGrid needs positive numbers, got {num_samples=} and {every_n_steps=}.")
        self.num_samples = num_samples
        self.every_n_steps = every_n_steps
        self.seed = check_seed(seed)
        self._drawn: int | None = None  # the round of the newest picture
        self._reals: Tensor  # the first batch's: background and frame of every scatter, so that they compare

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse, before any training, what cannot be drawn."""
        shape = as_sampler(pl_module, "SampleGrid").image_shape
        if len(shape) != 3 and shape != (2,):
            raise GANError(
                f"SampleGrid draws images (C, H, W) and points (2,), and the model's image_shape is {shape}: "
                f"leave it out."
            )
        self._drawn = None

    def on_train_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Tensor | Sequence[Tensor],
        batch_idx: int,
    ) -> None:
        """Draw when enough rounds are complete; a round may take several batches, and is drawn once."""
        if self._drawn is None:
            self._reals = reals(batch)
        if trainer.global_step % self.every_n_steps == 0 and trainer.global_step != self._drawn:
            self._draw(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw what training ended with, unless nothing was trained."""
        if self._drawn not in (None, trainer.global_step):
            self._draw(trainer, pl_module)

    def _draw(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._drawn = trainer.global_step
        # every process takes part, since a sharded generator needs them all
        publish(trainer, self._picture(as_sampler(pl_module, "SampleGrid")))

    def _picture(self, model: Sampler) -> Tensor:
        if model.image_shape == (2,):
            return scatter(model.sample(self.num_samples or 4096, seed=self.seed), self._reals)
        n, classes = self.num_samples or 64, model.num_classes
        if not 0 < classes <= n:
            return image_grid(model.sample(n, seed=self.seed))
        # labels run 0, 1, …, K-1 again and again by themselves
        return image_grid(model.sample(n - n % classes, seed=self.seed), nrow=classes)
