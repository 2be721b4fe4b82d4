"""How far the translations of one side are from the images of the other, at every validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from gan_modules.callbacks.scores import circumstances, keep_records
from gan_modules.callbacks.translating import as_translator, ends
from gan_modules.errors import GANError
from gan_modules.families.translation import Direction
from gan_modules.metrics.distances import FrechetDistance, KernelDistance
from gan_modules.metrics.networks import feature_network
from gan_modules.scoring.evaluate import Evaluator


class TranslationFID(Callback):
    """Frechet and Kernel Inception Distance (arXiv:1706.08500; arXiv:1801.01401) of each direction's translations.

    Logs ``val/fid_AtoB`` and ``val/kid_AtoB``, and so on for each direction (``test/…`` in ``trainer.test``): all
    validation images of one side, translated, against all of the other. Images are rounded to uint8, grey is repeated
    to RGB, and both scores come from the same features: TensorFlow's Inception of 2015 with its own bilinear resize,
    or, as ``val/fd_<feature.name>_AtoB`` and ``val/kd_<feature.name>_AtoB``, those of a network of your own. Each
    score is a record in the run folder's ``scores.jsonl``.

    Args:
        feature: Network from uint8 images ``(N, C, H, W)`` to features ``(N, num_features)``, with attributes
            `num_features` and `name`; by default Inception.
        weights: File of Inception's weights; by default torch-fidelity's, downloaded once to torch.hub's folder.
        kid_subsets: Subsets over which the kernel distance is averaged.
        kid_subset_size: Images of a subset; never more than there are.

    Raises:
        GANError: If the arguments do not fit; before training, if the weights cannot be had or the model does not
            translate; at validation, if a side has fewer than two images.
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
            raise GANError(f"KID needs subsets of two images and more: {kid_subsets=}, {kid_subset_size=}.")
        self.feature = None if feature is None else feature_network(feature)
        self.weights = weights
        self.kid_subsets = kid_subsets
        self.kid_subset_size = kid_subset_size
        self._examiners: dict[Direction, Evaluator]
        self._reals_known: bool

    @property
    def scores(self) -> tuple[str, str]:
        """The scores' names in logs, between ``val/`` and the direction."""
        return ("fid", "kid") if self.feature is None else (f"fd_{self.feature.name}", f"kd_{self.feature.name}")

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the feature network and begin with no statistics."""
        model = as_translator(pl_module, "TranslationFID")
        if self.feature is None and not {model.image_shape[0], model.target_shape[0]} <= {1, 3}:
            raise GANError("Inception sees grey or RGB images: give TranslationFID a feature network of your own.")
        device = trainer.strategy.root_device
        device = torch.device("cpu") if device.type == "mps" else device  # MPS has no float64
        with torch.random.fork_rng(devices=[]):  # a network's initialisation must not move the training's noise
            network = feature_network("inception", self.weights) if self.feature is None else self.feature
        self._examiners = {
            direction: Evaluator(
                [
                    FrechetDistance(network, keep_reals=True),
                    KernelDistance(network, self.kid_subsets, self.kid_subset_size, keep_reals=True),
                ],
                device=device,
            )
            for direction in model.directions
        }
        self._reals_known = False

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leave the device's memory to others."""
        for examiner in self._examiners.values():
            examiner.to("cpu")

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Sequence[Tensor],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Take translations in and, in the first validation of a fit, reals."""
        if trainer.sanity_checking:
            return
        model = as_translator(pl_module, "TranslationFID")
        for direction, examiner in self._examiners.items():
            images, others = ends(batch, direction)
            if len(images):
                examiner.add_fakes(model.translate(images, direction))
            if len(others) and not self._reals_known:
                examiner.add_reals(others)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare, log, keep the record."""
        if trainer.sanity_checking:
            return
        records = []
        for direction, examiner in self._examiners.items():
            if not self._reals_known:
                examiner.end_reals()
            if examiner.n_real < 2:
                raise GANError("TranslationFID needs at least two images of each side: hold out more.")
            for score in examiner.scores(**circumstances(trainer, pl_module)):
                if score.metric in self.scores:
                    records.append(replace(score, metric=f"{score.metric}_{direction}"))
        self._reals_known = True
        stage = "test" if trainer.testing else "val"
        for score in records:
            pl_module.log(f"{stage}/{score.metric}", score.value, sync_dist=True)
        keep_records(trainer, records)

    on_test_batch_end = on_validation_batch_end
    on_test_epoch_end = on_validation_epoch_end
