"""The distance of translations from the truth at every validation, for paired data."""

from __future__ import annotations

from typing import Any, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torchmetrics import MeanAbsoluteError, Metric
from torchmetrics.image import PeakSignalNoiseRatio, StructuralSimilarityIndexMeasure
from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

from gan_modules.callbacks.sampling import is_first_loader
from gan_modules.callbacks.translating import ends, pair
from gan_modules.errors import GANError
from gan_modules.families.capabilities import Translates, require
from gan_modules.families.translation import Direction
from gan_modules.functional.pixels import to_uint8


class PairScores(Callback):
    """Mean L1, PSNR, SSIM and optionally LPIPS over the validation pairs, for each direction.

    Logs ``val/l1_AtoB``, ``val/psnr_AtoB`` (dB), ``val/ssim_AtoB`` and ``val/lpips_AtoB``, and the
    same for each direction (``test/…`` in ``trainer.test``). Images are rounded to 8 bits and compared in [0, 1]; SSIM
    is torchmetrics', with Gaussian windows of 11 pixels and reflected borders.

    Args:
        lpips: Whether to compute LPIPS by AlexNet's features (arXiv:1801.03924), which torchvision downloads once.

    Raises:
        GANError: Before training, if AlexNet's weights are missing or the model does not translate; at validation, if
            the two domains of a batch differ in number. Whether the images are pairs is not checked.
    """

    def __init__(self, lpips: bool = False) -> None:
        self.lpips = lpips
        self._metrics: dict[Direction, dict[str, Metric]]

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Build the metrics for each direction."""
        model = require(pl_module, Translates, "PairScores")
        self._metrics = {
            direction: {name: metric.to(trainer.strategy.root_device) for name, metric in self._scores().items()}
            for direction in cast(tuple[Direction, ...], model.directions)
        }

    def _scores(self) -> dict[str, Metric]:
        scores: dict[str, Metric] = {
            "l1": MeanAbsoluteError(),
            "psnr": PeakSignalNoiseRatio(data_range=1.0, dim=(1, 2, 3)),
            "ssim": StructuralSimilarityIndexMeasure(data_range=1.0),
        }
        if not self.lpips:
            return scores
        try:
            with torch.random.fork_rng(devices=[]):  # its initialisation must not move the training's noise
                return scores | {"lpips": LearnedPerceptualImagePatchSimilarity("alex", normalize=True)}
        except OSError as error:
            raise GANError(
                f"LPIPS needs AlexNet's weights, which could not be downloaded ({error}): put torchvision's "
                f"alexnet-owt-7be5be79.pth into {torch.hub.get_dir()}/checkpoints, or leave lpips out."
            ) from error

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Add a batch to the metrics."""
        if trainer.sanity_checking or not is_first_loader(dataloader_idx, "PairScores"):
            return
        a, b = pair(pl_module, batch, "PairScores")
        if len(a) != len(b):
            raise GANError(
                f"PairScores needs pairs, and a batch has {len(a)} images of one domain and {len(b)} of the other: "
                f"choose PairedImagesDataModule, or leave PairScores out."
            )
        model = require(pl_module, Translates, "PairScores")
        for direction, metrics in self._metrics.items():
            images, truth = ends((a, b), direction)
            output, truth = _quantized(model.translate(images, direction)), _quantized(truth)
            for metric in metrics.values():
                metric.update(output, truth)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the means."""
        if trainer.sanity_checking:
            return
        stage = "test" if trainer.testing else "val"
        for direction, metrics in self._metrics.items():
            for name, metric in metrics.items():
                pl_module.log(f"{stage}/{name}_{direction}", metric.compute(), sync_dist=True)
                metric.reset()

    on_test_batch_end = on_validation_batch_end
    on_test_epoch_end = on_validation_epoch_end


def _quantized(images: Tensor) -> Tensor:
    """Return images as 8 bits hold them, in [0, 1]; contiguous, since torchmetrics flattens them."""
    return (to_uint8(images).float() / 255).contiguous()
