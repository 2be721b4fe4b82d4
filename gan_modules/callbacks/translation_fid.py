"""How far the translations of one side are from the images of the other, at every validation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from gan_modules.base import Direction, GANError
from gan_modules.callbacks.fid import check_inception_weights, frechet_distance
from gan_modules.callbacks.pictures import to_uint8
from gan_modules.callbacks.translating import as_translator, ends


class TranslationFID(Callback):
    """Frechet and Kernel Inception Distance (arXiv:1706.08500; arXiv:1801.01401) of each direction's translations.

    Logs ``val/fid_AtoB`` and ``val/kid_AtoB``, and so on for each direction (``test/…`` in ``trainer.test``): all
    validation images of one side, translated, against all of the other. Images are rounded to uint8, grey is repeated
    to RGB, and both scores come from the same features: TensorFlow's Inception of 2015 with its own bilinear resize,
    or, as ``val/fd_<feature.name>_AtoB`` and ``val/kd_<feature.name>_AtoB``, those of a network of your own.

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
        self.feature = None if feature is None else feature.eval().requires_grad_(False)
        self.weights = weights
        self.kid_subsets = kid_subsets
        self.kid_subset_size = kid_subset_size
        self._network: nn.Module  # here rather than in the module: checkpoints would hold it
        self._frechet: dict[Direction, FrechetInceptionDistance]
        self._kernel: dict[Direction, KernelInceptionDistance]
        self._reals_known: bool

    @property
    def scores(self) -> tuple[str, str]:
        """The scores' names in logs, between ``val/`` and the direction."""
        name = getattr(self.feature, "name", type(self.feature).__name__.lower())
        return ("fid", "kid") if self.feature is None else (f"fd_{name}", f"kd_{name}")

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the feature network and begin with no statistics."""
        model = as_translator(pl_module, "TranslationFID")
        if self.feature is None:
            if not {model.image_shape[0], model.target_shape[0]} <= {1, 3}:
                raise GANError("Inception sees grey or RGB images: give TranslationFID a feature network of your own.")
            check_inception_weights(self.weights)
        device = trainer.strategy.root_device
        device = torch.device("cpu") if device.type == "mps" else device  # MPS has no float64
        extractor = frechet_distance(self.feature, self.weights)
        self._network = extractor.inception.to(device)
        given = _Given(len(extractor.real_features_sum))
        self._frechet = {
            direction: FrechetInceptionDistance(given, reset_real_features=False).to(device)
            for direction in model.directions
        }
        self._kernel = {
            direction: KernelInceptionDistance(given, self.kid_subsets, reset_real_features=False).to(device)
            for direction in model.directions
        }
        self._reals_known = False

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leave the device's memory to others."""
        self._network.cpu()

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
        for direction in model.directions:
            images, others = ends(batch, direction)
            if len(images):
                self._update(direction, model.translate(images, direction), real=False)
            if len(others) and not self._reals_known:
                self._update(direction, others, real=True)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare and log."""
        if trainer.sanity_checking:
            return
        self._reals_known = True
        stage = "test" if trainer.testing else "val"
        for direction, frechet in self._frechet.items():
            kernel = self._kernel[direction]
            distances = dict(zip(self.scores, (self._compute_kernel(kernel), frechet.compute())[::-1], strict=True))
            for name, distance in distances.items():
                pl_module.log(f"{stage}/{name}_{direction}", distance, sync_dist=True)
            frechet.reset()
            kernel.reset()

    on_test_batch_end = on_validation_batch_end
    on_test_epoch_end = on_validation_epoch_end

    def _update(self, direction: Direction, images: Tensor, real: bool) -> None:
        images = to_uint8(images.to(self._frechet[direction].device))
        if self.feature is None:
            images = images.expand(-1, 3, -1, -1)
        with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
            features = self._network(images)
            self._frechet[direction].update(features, real=real)
            self._kernel[direction].update(features, real=real)

    def _compute_kernel(self, kernel: KernelInceptionDistance) -> Tensor:
        with kernel.sync_context():  # counted over all processes
            fewest = min(sum(map(len, states)) for states in (kernel.real_features, kernel.fake_features))
        if fewest < 2:
            raise GANError("TranslationFID needs at least two images of each side: hold out more.")
        kernel.subset_size = min(self.kid_subset_size, fewest)
        with torch.random.fork_rng(devices=[]):  # the subsets must not move the training's noise
            torch.manual_seed(0)
            mean, _ = kernel.compute()
        distance: Tensor = mean
        return distance


class _Given(nn.Module):
    """Hands on features that are there already, so that both metrics share them.

    Args:
        num_features: Their length.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        """The same features ``(N, num_features)``."""
        return features
