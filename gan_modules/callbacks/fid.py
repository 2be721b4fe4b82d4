"""The Frechet distance between generated and real images, at every validation."""

from __future__ import annotations

import math
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance

from gan_modules.base import GANError
from gan_modules.callbacks.pictures import to_uint8
from gan_modules.callbacks.sampling import as_sampler, reals

INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"


class FID(Callback):
    """Frechet Inception Distance (arXiv:1706.08500, eq. 6) of the model's samples to the validation images.

    Logs ``val/fid`` (``test/fid`` in ``trainer.test``), which ``ModelCheckpoint(monitor="val/fid")`` can watch.
    The protocol is the published one: images rounded to uint8, grey repeated to RGB, TensorFlow's Inception of
    2015 with its own bilinear resize, float64 statistics. With another feature network the score is called
    ``val/fd_<feature.name>``, since the two do not compare. All images of the validation loader are the reals;
    their statistics are computed once a fit. The samples come from the same latents each time, whatever the
    number of processes (whose loader repeats an image or so where the reals do not divide evenly).

    Args:
        feature: Network from uint8 images ``(N, C, H, W)`` to features ``(N, num_features)``, with attributes
            `num_features` and, for the score's name, `name`; by default Inception.
        weights: File of Inception's weights; by default torch-fidelity's, downloaded once to torch.hub's folder.
        num_samples: Images to generate, their classes in the reals' proportions; by default as many as reals.
        batch_size: Images through the generator and the feature network at a time.
        seed: Seed of the latents, which depend on `batch_size` too.

    Raises:
        GANError: If the arguments do not fit; before training, if the weights cannot be had or the model's
            samples are nothing that the feature network sees; at validation, if there are fewer than two reals.
    """

    def __init__(
        self,
        feature: nn.Module | None = None,
        weights: str | Path | None = None,
        num_samples: int | None = None,
        batch_size: int = 64,
        seed: int = 0,
    ) -> None:
        if feature is not None and weights is not None:
            raise GANError("FID's weights are Inception's: leave them out where a feature network is given.")
        if feature is not None and not isinstance(getattr(feature, "num_features", None), int):
            raise GANError(f"The feature network {type(feature).__name__} must say its num_features, an int.")
        if (num_samples is not None and num_samples < 2) or batch_size < 1:
            raise GANError(f"FID needs at least two samples, in batches: {num_samples=}, {batch_size=}.")
        self.feature = None if feature is None else feature.eval().requires_grad_(False)
        self.weights = weights
        self.num_samples = num_samples
        self.batch_size = batch_size
        self.seed = seed
        # Here rather than in the module: checkpoints would hold Inception, and DDP would broadcast it.
        self._metric: FrechetInceptionDistance
        self._classes: Tensor  # reals of each class; all in one, where the model knows none
        self._reals_known: bool

    @property
    def score(self) -> str:
        """The score's name in logs, after ``val/`` or ``test/``."""
        if self.feature is None:
            return "fid"
        return f"fd_{getattr(self.feature, 'name', type(self.feature).__name__.lower())}"

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the feature network and begin with no statistics."""
        model = as_sampler(pl_module, "FID")
        if len(model.image_shape) != 3:
            raise GANError(
                f"FID compares images, and the model's image_shape is {model.image_shape}: leave it out, and count "
                f"modes with gan_modules.metrics.mode_coverage."
            )
        if self.feature is None:
            if model.image_shape[0] not in (1, 3):
                raise GANError(
                    f"Inception sees grey or RGB images, and the model's image_shape is {model.image_shape}: give "
                    f"FID a feature network of your own."
                )
            _check_inception_weights(self.weights)
        self._metric = _frechet_distance(self.feature, self.weights)
        device = trainer.strategy.root_device
        self._metric.to("cpu" if device.type == "mps" else device)  # MPS has no float64
        self._classes = torch.zeros(max(model.num_classes, 1), dtype=torch.long, device=device)
        self._reals_known = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say so where no validation will ever score."""
        if not sum(trainer.num_val_batches):
            rank_zero_warn(f"{self.score} is computed at validation, and this fit has none: give it validation data.")

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leave the device's memory to others."""
        self._metric.cpu()

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Tensor | Sequence[Tensor],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Take the reals in, in the first validation of a fit."""
        if trainer.sanity_checking or self._reals_known:
            return
        images = reals(batch)
        for part in torch.split(images, self.batch_size):
            self._update(part, real=True)
        if len(self._classes) > 1:
            self._classes += batch[1].bincount(minlength=len(self._classes))
        else:
            self._classes += len(images)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Generate, compare, log."""
        if trainer.sanity_checking:
            return
        if not self._reals_known:
            self._classes = cast(Tensor, trainer.strategy.reduce(self._classes, reduce_op="sum"))
            self._check_counts()
            self._reals_known = True
        self._generate(trainer, pl_module)
        distance = self._metric.compute()  # of all processes together: torchmetrics adds their sums
        self._metric.reset()
        stage = "test" if trainer.testing else "val"
        pl_module.log(f"{stage}/{self.score}", distance, prog_bar=True, sync_dist=True)

    on_test_batch_end = on_validation_batch_end
    on_test_epoch_end = on_validation_epoch_end

    def _check_counts(self) -> None:
        n_real = int(self._classes.sum())
        if n_real < 2:
            raise GANError(f"FID needs at least two real images, and the loader has {n_real}: hold out more.")
        fewest, features = min(n_real, self.num_samples or n_real), len(self._metric.real_features_sum)
        if fewest <= features:
            rank_zero_warn(
                f"{self.score} of {fewest} images in {features} dimensions is biased upwards: compare it only with "
                f"scores of as many images."
            )

    def _generate(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the fakes in, batch i with the i-th seed, by processes in turn.

        Each makes as many batches, though the last ones may not count: a sharded generator needs them all.
        """
        model = as_sampler(pl_module, "FID")
        n_real = int(self._classes.sum())
        wanted = self.num_samples or n_real
        stride = self.batch_size * trainer.world_size
        planned = math.ceil(wanted / stride) * stride
        labels = None
        if len(self._classes) > 1:  # those of the reals, sorted and evenly thinned out or repeated
            places = torch.arange(planned, device=self._classes.device) * n_real // wanted
            labels = torch.searchsorted(self._classes.cumsum(0), places.clamp(max=n_real - 1), right=True)
        for start in range(trainer.global_rank * self.batch_size, planned, stride):
            images = model.sample(
                self.batch_size,
                labels=None if labels is None else labels[start : start + self.batch_size],
                seed=self.seed + start // self.batch_size,
            )
            if start < wanted:
                self._update(images[: wanted - start], real=False)

    def _update(self, images: Tensor, real: bool) -> None:
        images = to_uint8(images.to(self._metric.device))
        if self.feature is None:
            images = images.expand(-1, 3, -1, -1)
        with torch.autocast(images.device.type, enabled=False):
            self._metric.update(images, real=real)


def _frechet_distance(feature: nn.Module | None, weights: str | Path | None) -> FrechetInceptionDistance:
    if feature is not None:
        return FrechetInceptionDistance(feature, reset_real_features=False)
    try:
        with torch.random.fork_rng(devices=[]):  # Inception's initialisation must not move the training's noise
            return FrechetInceptionDistance(
                reset_real_features=False,
                feature_extractor_weights_path=None if weights is None else str(weights),
                antialias=False,
            )
    except OSError as error:
        raise GANError(
            f"FID's Inception weights could not be downloaded ({error}): put {INCEPTION_FILE} of torch-fidelity's "
            f"releases into {_hub_file().parent}, or pass its path as FID(weights=...)."
        ) from error
    except RuntimeError as error:
        raise GANError(f"{weights or _hub_file()} holds other weights than {INCEPTION_FILE}.") from error


def _check_inception_weights(weights: str | Path | None) -> None:
    """Read a local file first without executing it, which torch-fidelity does not."""
    path = _hub_file() if weights is None else Path(weights)
    if weights is not None and not path.is_file():
        raise GANError(f"There is no file {path} for FID(weights=...): it should be {INCEPTION_FILE}.")
    if not path.is_file():
        return
    try:
        torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
        raise GANError(
            f"{path} is no whole file of weights: replace it by {INCEPTION_FILE} of torch-fidelity's releases."
        ) from error


def _hub_file() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / INCEPTION_FILE
