"""The distance of translations into a domain from its images, at every validation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn

from gan_modules.callbacks.counting import too_few_reals
from gan_modules.callbacks.sampling import is_first_loader
from gan_modules.callbacks.scores import append_records, run_info
from gan_modules.callbacks.translating import ends, pair
from gan_modules.errors import GANError
from gan_modules.families.capabilities import Translates, require
from gan_modules.families.translation import Direction
from gan_modules.metrics.distances import FrechetDistance, KernelDistance
from gan_modules.metrics.networks import feature_network
from gan_modules.scoring.evaluate import Evaluator

TOO_FEW = "TranslationFID needs at least two validation images of each domain: hold out more."


class TranslationFID(Callback):
    """Frechet and Kernel Inception Distance (arXiv:1706.08500; arXiv:1801.01401) of each direction's translations.

    Logs ``val/fid_AtoB`` and ``val/kid_AtoB``, and the same for each direction (``test/…`` in ``trainer.test``): all
    validation images of one domain, translated, against all of the other. Images are rounded to uint8, grey is repeated
    to RGB, and both scores use the same features: those of TensorFlow's Inception of 2015 with its own bilinear resize,
    or of a network of your own, whose scores are ``val/fd_<feature.name>_AtoB`` and ``val/kd_<feature.name>_AtoB``.
    Each score is a record in the run folder's ``scores.jsonl``.

    Args:
        feature: Network from uint8 images ``(N, C, H, W)`` to features ``(N, num_features)``, with attributes
            `num_features` and `name`; by default Inception.
        weights: File of Inception's weights; by default torch-fidelity's, downloaded once to torch.hub's folder.
        kid_subsets: Number of subsets over which the kernel distance is averaged.
        kid_subset_size: Images in a subset; at most all of them.

    Raises:
        GANError: If the arguments do not fit; before training, if the weights are missing or damaged, the model does
            not translate, or a domain has fewer than two validation images.
    """

    def __init__(
        self,
        feature: nn.Module | None = None,
        weights: str | Path | None = None,
        kid_subsets: int = 100,
        kid_subset_size: int = 1000,
    ) -> None:
        if feature is not None and weights is not None:
            raise GANError("The weights are Inception's: leave them out where a feature network is given.")
        if kid_subsets < 1 or kid_subset_size < 2:
            raise GANError(f"KID needs at least one subset of at least two images: {kid_subsets=}, {kid_subset_size=}.")
        self.feature = None if feature is None else feature_network(feature)
        self.weights = weights
        self.kid_subsets = kid_subsets
        self.kid_subset_size = kid_subset_size
        self._evaluators: dict[Direction, Evaluator]
        self._reals_known: bool

    @property
    def scores(self) -> tuple[str, str]:
        """The scores' names in logs, between ``val/`` and the direction."""
        return ("fid", "kid") if self.feature is None else (f"fd_{self.feature.name}", f"kd_{self.feature.name}")

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Load the feature network and build the evaluators."""
        model = require(pl_module, Translates, "TranslationFID")
        if self.feature is None and not {model.image_shape[0], model.target_shape[0]} <= {1, 3}:
            raise GANError("Inception sees grey or RGB images: give TranslationFID a feature network of your own.")
        device = trainer.strategy.root_device
        device = torch.device("cpu") if device.type == "mps" else device  # MPS has no float64
        with torch.random.fork_rng(devices=[]):  # a network's initialisation must not move the training's noise
            network = feature_network("inception", self.weights) if self.feature is None else self.feature
        self._evaluators = {
            direction: Evaluator(
                [
                    FrechetDistance(network, keep_reals=True),
                    KernelDistance(network, self.kid_subsets, self.kid_subset_size, keep_reals=True),
                ],
                device=device,
            )
            for direction in cast(tuple[Direction, ...], model.directions)
        }
        self._reals_known = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse domains that no validation could score."""
        if too_few_reals(trainer, lambda batch: [len(images) for images in pair(pl_module, batch, "TranslationFID")]):
            raise GANError(TOO_FEW)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Free the device's memory."""
        for evaluator in self._evaluators.values():
            evaluator.to("cpu")

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Add translations and, in the first validation of a fit, reals."""
        if trainer.sanity_checking or not is_first_loader(dataloader_idx, "TranslationFID"):
            return
        both = pair(pl_module, batch, "TranslationFID")
        model = require(pl_module, Translates, "TranslationFID")
        for direction, evaluator in self._evaluators.items():
            images, others = ends(both, direction)
            if len(images):
                evaluator.add_fakes(model.translate(images, direction))
            if len(others) and not self._reals_known:
                evaluator.add_reals(others)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compute the scores, log and record them."""
        if trainer.sanity_checking:
            return
        records = []
        for direction, evaluator in self._evaluators.items():
            if not self._reals_known:
                evaluator.end_reals()
            if evaluator.n_real < 2:
                raise GANError(TOO_FEW)
            for score in evaluator.scores(**run_info(trainer, pl_module)):
                if score.metric in self.scores:
                    records.append(replace(score, metric=f"{score.metric}_{direction}"))
        self._reals_known = True
        stage = "test" if trainer.testing else "val"
        for score in records:
            pl_module.log(f"{stage}/{score.metric}", score.value, sync_dist=True)
        append_records(trainer, records)

    on_test_batch_end = on_validation_batch_end
    on_test_epoch_end = on_validation_epoch_end
