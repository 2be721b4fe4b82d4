"""The same latents, drawn again and again: what a GAN has learned, at a glance."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from gan_modules.callbacks.sampling import columns
from gan_modules.engine.seeds import check_seed
from gan_modules.errors import GANError
from gan_modules.families.capabilities import Samples, require
from gan_modules.families.data_spec import Kind, data_spec
from gan_modules.visuals.captions import words_of
from gan_modules.visuals.files import SAMPLE_RATE, save_samples
from gan_modules.visuals.publish import publish
from gan_modules.visuals.samples import check_drawable, draw_samples

NUM_SAMPLES: dict[Kind, int] = {"image": 64, "point": 4096, "audio": 8, "video": 8}
PLAYED: tuple[Kind, ...] = ("audio", "video")  # kinds of which a picture does not say all


class SampleGrid(Callback):
    """Draw samples from fixed latents before the first step, every few steps, and at the end of the fit.

    Writes ``samples/step_00000500.png`` in the run's folder and hands the same picture to TensorBoard, W&B and MLflow.
    Images make a grid, with a column for each class; points in the plane are drawn over the first batch of reals;
    audio makes a waveform and a spectrogram a row, clips a film strip a row, and both are also written as WAV or GIF to
    ``samples/step_00000500/``. A model that cannot make up a condition, such as a caption, gets those of the first
    batch. Training goes on exactly as without: samples have a random generator of their own.

    Args:
        num_samples: Samples in the picture (of images in whole rows, where columns are classes; at most a batch, where
            the conditions are a batch's); by default 64 images, 4096 points, or 8 of audio or video.
        every_n_steps: Steps of the game between two pictures.
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
        self._drawn: int | None = None  # the step of the newest picture; before the first one, of the fit's beginning
        # the first batch, whose points are behind every scatter, so that scatters compare
        self._batch: tuple[Any, ...] = ()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse, before any training, what cannot be drawn."""
        model = require(pl_module, Samples, "SampleGrid")
        check_drawable(model.kind, model.sample_shape, "SampleGrid")
        self._drawn, self._batch = None, ()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Draw when enough steps are complete; a step may take several batches, and is drawn once."""
        step = trainer.global_step
        if not self._batch:
            self._batch = columns(pl_module, batch)
        if step % self.every_n_steps == 0 and step != self._drawn:
            self._draw(trainer, pl_module)
        elif self._drawn is None:
            self._drawn = step

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw what training ended with, unless nothing was trained."""
        if self._drawn not in (None, trainer.global_step):
            self._draw(trainer, pl_module)

    def _draw(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._drawn = trainer.global_step
        model, data = require(pl_module, Samples, "SampleGrid"), getattr(trainer, "datamodule", None)
        # every process takes part, since a sharded generator needs them all
        samples, how = self._samples(model, data)
        rate: int | None = data_spec(data).get("sample_rate")
        points = self._batch[0] if model.kind == "point" else None
        picture = draw_samples(samples, model.kind, reals=points, sample_rate=rate, **how)
        save = partial(_save, samples, model.kind, rate or SAMPLE_RATE) if model.kind in PLAYED else None
        publish(trainer, picture, save=save)

    def _samples(self, model: Samples, data: Any) -> tuple[Tensor, dict[str, Any]]:
        """Return the samples, and how their picture is laid out."""
        n = self.num_samples or NUM_SAMPLES[model.kind]
        if not _makes_up_conditions(model):
            batch = tuple(part[:n] for part in self._batch)
            captions = words_of(data, batch[1]) if getattr(model, "vocab_size", None) else None
            return model.sample_like(batch, seed=self.seed), {"captions": captions}
        if model.kind != "image" or not 0 < model.num_classes <= n:
            return model.sample(n, seed=self.seed), {}
        # labels run 0, 1, …, K-1 again and again by themselves
        return model.sample(n - n % model.num_classes, seed=self.seed), {"nrow": model.num_classes}


def _makes_up_conditions(model: Samples) -> bool:
    try:
        model.sample_condition(1)
    except GANError:
        return False
    return True


def _save(samples: Tensor, kind: Kind, sample_rate: int, folder: Path) -> None:
    save_samples(samples, folder, kind, sample_rate=sample_rate)
