"""Scores of the samples at validation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import nn

from gan_modules.callbacks.counting import too_few_reals
from gan_modules.callbacks.sampling import columns, is_first_loader
from gan_modules.engine.run_folder import run_folder
from gan_modules.errors import GANError
from gan_modules.families.capabilities import Samples, require
from gan_modules.metrics.features import FeatureNetwork
from gan_modules.metrics.networks import feature_network, features_for
from gan_modules.scoring.cache import FeatureCache
from gan_modules.scoring.evaluate import Evaluator, RunInfo
from gan_modules.scoring.generation import SEEDS, sampled_classes, takes_captions
from gan_modules.scoring.metric_names import build_metrics, check_names
from gan_modules.scoring.record import Score, append, best, protocol_differences

FILE = "scores.jsonl"  # in the run's folder


class Scores(Callback):
    """Scores of the model's samples against the validation data, by any metrics that share a feature network.

    Logs ``val/fid`` and so on (``test/fid`` in ``trainer.test``), which ``ModelCheckpoint(monitor="val/fid")`` can
    watch. With another feature network than Inception the names end in that network's, as in ``val/fd_digits``, since
    the scores do not compare. Each score is a record in the run folder's ``scores.jsonl``, and the end of a fit reports
    the best and the last. All samples of the validation loader are the reals; their features are computed once, and
    cached on the disk for the next fit. The samples come from the same latents each time, whatever the number of
    processes (whose loader repeats a few samples where the reals do not divide evenly).

    Args:
        metrics: Names of the metrics, such as ``fid``, ``kid``, ``prdc``; see `gan_modules.scoring.metric_names`.
        features: Feature network: its name, a classifier's file, or a module; see
            `gan_modules.metrics.features_for`. By default Inception for images and a video's frames, statistics of
            a spectrogram for audio, and the coordinates themselves for points.
        weights: File of a named network's weights; by default they are downloaded once.
        num_samples: Samples to generate, with the reals' classes or captions in their proportions; by default as many
            as reals.
        every_n_epochs: Score in every n-th epoch only, and in the first and the last validation of a fit.
        batch_size: Samples through the generator and the feature network at a time.
        seed: Seed of the latents, which depend on `batch_size` too.
        cache: Folder of the reals' features; by default ``$GAN_MODULES_CACHE`` or the user's cache folder.

    Attributes:
        scores: The records so far.

    Raises:
        GANError: If the arguments do not fit; before training, if the weights are missing or damaged, or the feature
            network does not take the model's samples, or there are fewer than two reals to validate on.
    """

    def __init__(
        self,
        metrics: Sequence[str] = ("fid",),
        features: str | Path | nn.Module | None = None,
        weights: str | Path | None = None,
        num_samples: int | None = None,
        every_n_epochs: int = 1,
        batch_size: int = 64,
        seed: int = 0,
        cache: str | Path | None = None,
    ) -> None:
        self._name = type(self).__name__
        check_names(metrics)
        if (num_samples is not None and num_samples < 2) or batch_size < 1:
            raise GANError(f"{self._name} needs at least two samples, in batches: {num_samples=}, {batch_size=}.")
        if every_n_epochs < 1 or not 0 <= seed < SEEDS:
            raise GANError(f"{self._name} needs {every_n_epochs=} of at least 1 and {seed=} from 0 to {SEEDS - 1}.")
        self.metrics = tuple(metrics)
        self.features = feature_network(features) if isinstance(features, nn.Module) else features
        self.weights = weights
        self.num_samples = num_samples
        self.every_n_epochs = every_n_epochs
        self.batch_size = batch_size
        self.seed = seed
        self.cache = None if cache is None else Path(cache)
        self.scores: list[Score] = []
        # Not in the module, where checkpoints would hold the network and DDP would broadcast it.
        self._evaluator: Evaluator
        self._reals_known: bool

    @property
    def state_key(self) -> str:
        """The key of this callback among several in a checkpoint."""
        network = self.features.name if isinstance(self.features, FeatureNetwork) else self.features
        return self._generate_state_key(metrics=self.metrics, features=str(network))

    def state_dict(self) -> dict[str, Any]:
        """Return the records so far, so that a resumed run knows its best."""
        return {"scores": [score.to_json() for score in self.scores]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the records of a checkpoint."""
        self.scores = [Score.from_json(line) for line in state_dict["scores"]]

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Load the feature network and build the evaluator."""
        model = require(pl_module, Samples, self._name)
        if model.kind == "point" and "modes" in self.metrics:
            raise GANError(
                f"{self._name} does not know the mixture whose modes to count: leave modes out, and count them with "
                f"gan-modules score --metrics modes."
            )
        pictures = model.kind in ("image", "video")
        if pictures and self.features in (None, "inception") and model.sample_shape[0] not in (1, 3):
            raise GANError(
                f"Inception takes grey or RGB images, and the model's have the shape {tuple(model.sample_shape)}: pass "
                f"{self._name} a feature network of your own."
            )
        device = trainer.strategy.root_device
        device = torch.device("cpu") if device.type == "mps" else device  # MPS has no float64
        with torch.random.fork_rng(devices=[]):  # a network's initialisation must not move the training's noise
            network = features_for(model.kind, model.sample_shape, self.features, self.weights)
        self._evaluator = Evaluator(
            build_metrics(self.metrics, network),
            num_classes=sampled_classes(model),
            captioned=takes_captions(model),
            cache=FeatureCache(self.cache),
            batch_size=self.batch_size,
            device=device,
        )
        self._evaluator.check(model.sample_shape)
        self._reals_known = False
        if stage == "fit":
            self.scores = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Warn if the fit has no validation, so that nothing is scored."""
        if not sum(trainer.num_val_batches):
            names = ", ".join(self._evaluator.names)
            rank_zero_warn(f"{names} is computed at validation, and this fit has none: give it validation data.")
        elif self._evaluator.needs_reals and too_few_reals(trainer, lambda batch: [len(columns(pl_module, batch)[0])]):
            raise GANError(f"{self._name} needs at least two real samples to validate on: hold out more.")

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Free the device's memory."""
        self._evaluator.to("cpu")

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Add the reals in the first validation of a fit."""
        if not trainer.sanity_checking and not self._reals_known and is_first_loader(dataloader_idx, self._name):
            samples, *condition = columns(pl_module, batch)
            self._evaluator.add_reals(samples, *condition[:1])

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Generate samples, compute the scores, log and record them."""
        if trainer.sanity_checking:
            return
        if not self._reals_known:
            self._evaluator.end_reals()
            self._check_counts()
            self._reals_known = True
        if not self._is_due(trainer):
            return
        model, info = require(pl_module, Samples, self._name), run_info(trainer, pl_module)
        scores = self._evaluator.evaluate(model, self.num_samples, self.seed, progress=False, **info)
        for score in scores:
            pl_module.log(f"{info['split']}/{score.metric}", score.value, prog_bar=True, sync_dist=True)
        self.scores += scores
        append_records(trainer, scores)

    on_test_batch_end = on_validation_batch_end
    on_test_epoch_end = on_validation_epoch_end

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the best and the last score."""
        for name in self._evaluator.names:
            named = [score for score in self.scores if score.metric == name]
            if named:
                last = named[-1]
                top = best(score for score in named if not protocol_differences(score, last))
                rank_zero_info(
                    f"{name}: best {top.value:.4g} after {top.step} steps, last {last.value:.4g} after {last.step}"
                )

    def _is_due(self, trainer: Trainer) -> bool:
        if trainer.state.fn != TrainerFn.FITTING or not self.scores:
            return True
        epoch = trainer.current_epoch + 1
        ends = epoch == trainer.max_epochs or trainer.global_step == trainer.max_steps or trainer.should_stop
        return epoch % self.every_n_epochs == 0 or ends

    def _check_counts(self) -> None:
        n_real = self._evaluator.n_real
        if self._evaluator.needs_reals and n_real < 2:
            raise GANError(f"{self._name} needs at least two real samples, and the loader has {n_real}: hold out more.")
        fewest = min(n_real, self.num_samples or n_real)
        dimensions = self._evaluator.network.num_features
        biased = [name for name in self._evaluator.names if name.startswith(("fid", "fd_"))]
        if biased and fewest <= dimensions:
            rank_zero_warn(
                f"{biased[0]} of {fewest} samples in {dimensions} dimensions is biased upwards: compare it only with "
                f"scores of as many samples."
            )


def run_info(trainer: Trainer, model: LightningModule) -> RunInfo:
    """Return a record's fields for a validation of a model."""
    data = getattr(trainer, "datamodule", None)
    return {
        "reals": "a loader" if data is None else type(data).__name__,
        "split": "test" if trainer.testing else "val",
        "fakes": type(model).__name__,
        "step": trainer.global_step,
        "images_seen": getattr(model, "images_seen", None),
    }


def append_records(trainer: Trainer, scores: Sequence[Score]) -> None:
    """Append records to the run folder's file; warn if the disk refuses, since training can go on.

    Every process must call it; see `run_folder`.
    """
    folder = run_folder(trainer)
    if trainer.is_global_zero:
        try:
            append(folder / FILE, scores)
        except GANError as error:
            rank_zero_warn(str(error))
