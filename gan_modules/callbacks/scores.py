"""Scores of the samples, at validation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor, nn

from gan_modules.callbacks.sampling import as_sampler, reals
from gan_modules.errors import GANError
from gan_modules.metrics.features import FeatureNetwork
from gan_modules.metrics.networks import feature_network
from gan_modules.scoring.cache import FeatureCache
from gan_modules.scoring.catalogue import build_metrics, check_names
from gan_modules.scoring.evaluate import Evaluator, RunInfo
from gan_modules.scoring.generation import SEEDS
from gan_modules.scoring.record import Score, append, best, unlike

FILE = "scores.jsonl"  # in the run's folder


class Scores(Callback):
    """Scores of the model's samples against the validation images, by any metrics that share a feature network.

    Logs ``val/fid`` and so on (``test/fid`` in ``trainer.test``), which ``ModelCheckpoint(monitor="val/fid")`` can
    watch; with another feature network than Inception the names end in its own, as in ``val/fd_digits``, since the
    scores do not compare. Each score is a record in the run folder's ``scores.jsonl``, and at the end of a fit the
    best and the last are told. All images of the validation loader are the reals; their features are computed once,
    and kept on the disk for the next fit. The samples come from the same latents each time, whatever the number of
    processes (whose loader repeats an image or so where the reals do not divide evenly).

    Args:
        metrics: Names of the metrics, such as ``fid``, ``kid``, ``prdc``; see `gan_modules.scoring.catalogue`.
        features: The feature network: its name, a classifier's file, or a module; see
            `gan_modules.metrics.feature_network`.
        weights: File of a named network's weights; by default they are downloaded once.
        num_samples: Images to generate, their classes in the reals' proportions; by default as many as reals.
        every_n_epochs: Score in every n-th epoch only, and in the first and the last validation of a fit.
        batch_size: Images through the generator and the feature network at a time.
        seed: Seed of the latents, which depend on `batch_size` too.
        cache: Folder of the reals' features; by default ``$GAN_MODULES_CACHE`` or the user's cache folder.

    Attributes:
        scores: The records so far.

    Raises:
        GANError: If the arguments do not fit; before training, if the weights cannot be had or the model's
            samples are nothing that the feature network sees; at validation, if there are fewer than two reals.
    """

    def __init__(
        self,
        metrics: Sequence[str] = ("fid",),
        features: str | Path | nn.Module = "inception",
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
        # Here rather than in the module: checkpoints would hold the network, and DDP would broadcast it.
        self._examiner: Evaluator
        self._reals_known: bool

    @property
    def state_key(self) -> str:
        """Tells several of them apart in a checkpoint."""
        network = self.features.name if isinstance(self.features, FeatureNetwork) else self.features
        return self._generate_state_key(metrics=self.metrics, features=str(network))

    def state_dict(self) -> dict[str, Any]:
        """The records so far, so that a run that goes on knows its best."""
        return {"scores": [score.to_json() for score in self.scores]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the records of a checkpoint."""
        self.scores = [Score.from_json(line) for line in state_dict["scores"]]

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the feature network and begin with no statistics."""
        model = as_sampler(pl_module, self._name)
        if len(model.image_shape) != 3:
            raise GANError(
                f"{self._name} compares images, and the model's image_shape is {model.image_shape}: leave it out, and "
                f"count modes with gan-modules score --metrics modes."
            )
        if self.features == "inception" and model.image_shape[0] not in (1, 3):
            raise GANError(
                f"Inception sees grey or RGB images, and the model's image_shape is {model.image_shape}: give "
                f"{self._name} a feature network of your own."
            )
        device = trainer.strategy.root_device
        device = torch.device("cpu") if device.type == "mps" else device  # MPS has no float64
        with torch.random.fork_rng(devices=[]):  # a network's initialisation must not move the training's noise
            network = feature_network(self.features, self.weights)
        self._examiner = Evaluator(
            build_metrics(self.metrics, network),
            num_classes=model.num_classes,
            cache=FeatureCache(self.cache),
            batch_size=self.batch_size,
            device=device,
        )
        self._examiner.check(model.image_shape)
        self._reals_known = False
        if stage == "fit":
            self.scores = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say so where no validation will ever score."""
        if not sum(trainer.num_val_batches):
            names = ", ".join(self._examiner.names)
            rank_zero_warn(f"{names} is computed at validation, and this fit has none: give it validation data.")

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leave the device's memory to others."""
        self._examiner.to("cpu")

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
        if not trainer.sanity_checking and not self._reals_known:
            labels = None if isinstance(batch, Tensor) or len(batch) < 2 else batch[1]
            self._examiner.add_reals(reals(batch), labels)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Generate, compare, log, keep the record."""
        if trainer.sanity_checking:
            return
        if not self._reals_known:
            self._examiner.end_reals()
            self._check_counts()
            self._reals_known = True
        if not self._is_due(trainer):
            return
        model, told = as_sampler(pl_module, self._name), circumstances(trainer, pl_module)
        scores = self._examiner.examine(model, self.num_samples, self.seed, progress=False, **told)
        for score in scores:
            pl_module.log(f"{told['split']}/{score.metric}", score.value, prog_bar=True, sync_dist=True)
        self.scores += scores
        keep_records(trainer, scores)

    on_test_batch_end = on_validation_batch_end
    on_test_epoch_end = on_validation_epoch_end

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tell the best and the last."""
        for name in self._examiner.names:
            named = [score for score in self.scores if score.metric == name]
            if named:
                last = named[-1]
                top = best(score for score in named if not unlike(score, last))
                rank_zero_info(
                    f"{name}: best {top.value:.4g} after {top.round} rounds, last {last.value:.4g} after {last.round}"
                )

    def _is_due(self, trainer: Trainer) -> bool:
        if trainer.state.fn != TrainerFn.FITTING or not self.scores:
            return True
        epoch = trainer.current_epoch + 1
        ends = epoch == trainer.max_epochs or trainer.global_step == trainer.max_steps or trainer.should_stop
        return epoch % self.every_n_epochs == 0 or ends

    def _check_counts(self) -> None:
        n_real = self._examiner.n_real
        if self._examiner.needs_reals and n_real < 2:
            raise GANError(f"{self._name} needs at least two real images, and the loader has {n_real}: hold out more.")
        fewest = min(n_real, self.num_samples or n_real)
        dimensions = self._examiner.network.num_features
        biased = [name for name in self._examiner.names if name.startswith(("fid", "fd_"))]
        if biased and fewest <= dimensions:
            rank_zero_warn(
                f"{biased[0]} of {fewest} images in {dimensions} dimensions is biased upwards: compare it only with "
                f"scores of as many images."
            )


def circumstances(trainer: Trainer, model: LightningModule) -> RunInfo:
    """What a record says of a validation of a model."""
    data = getattr(trainer, "datamodule", None)
    return {
        "reals": "a loader" if data is None else type(data).__name__,
        "split": "test" if trainer.testing else "val",
        "fakes": type(model).__name__,
        "round": trainer.global_step,
        "images_seen": getattr(model, "images_seen", None),
    }


def keep_records(trainer: Trainer, scores: Sequence[Score]) -> None:
    """Add records to the run's folder; a disk that refuses is no reason to stop a training.

    Every process has to call it, since the trainer's `log_dir` needs them all.
    """
    folder = Path(trainer.log_dir or trainer.default_root_dir)
    if trainer.is_global_zero:
        try:
            append(folder / FILE, scores)
        except GANError as error:
            rank_zero_warn(str(error))
