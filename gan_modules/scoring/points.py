"""Scoring of models that make points: which modes of a mixture their samples reach."""

from __future__ import annotations

from typing import Unpack

import torch

from gan_modules.errors import GANError
from gan_modules.metrics.modes import ModeCoverage
from gan_modules.scoring.evaluate import RunInfo, drawn
from gan_modules.scoring.generation import Draw, Sampler
from gan_modules.scoring.record import Score


class PointExaminer:
    """Counts the modes that the samples of one model after another reach, as `Evaluator` scores those that make images.

    Args:
        metric: Knows the mixture.
        batch_size: Points through the generator at a time.
        device: Where to count.
    """

    def __init__(self, metric: ModeCoverage, *, batch_size: int = 64, device: str | torch.device = "cpu") -> None:
        self.metric = metric.to(device)
        self.batch_size = batch_size

    def check_model(self, model: Sampler) -> None:
        """Raise GANError if the model makes other points than the mixture's, or its classes are not the modes."""
        modes, *shape = self.metric.centres.shape
        if [*model.image_shape] != shape or model.num_classes not in (0, modes):
            raise GANError(
                f"The model makes {tuple(model.image_shape)} of {model.num_classes} classes, and the mixture has "
                f"{modes} modes of {tuple(shape)}: choose the data that it was trained on."
            )

    def examine(
        self,
        model: Sampler,
        n: int,
        seed: int = 0,
        truncation: float = 1.0,
        ema: bool = True,
        **circumstances: Unpack[RunInfo],
    ) -> list[Score]:
        """The scores of `n` samples of a model, of all its classes alike.

        Raises:
            GANError: If the model's points are not the mixture's.
        """
        self.check_model(model)
        classes = torch.ones(model.num_classes) if model.num_classes else None
        draw = Draw(model, self.batch_size, seed, class_counts=classes, truncation=truncation, ema=ema)
        for points in draw.samples(n):
            self.metric.update(points, real=False)
        values = self.metric.compute()
        self.metric.reset()
        mixture = {"centres": self.metric.centres.tolist(), "std": self.metric.std, "within": self.metric.within}
        return [
            Score(
                metric=name,
                value=float(values[name]),
                higher_is_better=name != "mode_kl",
                settings=mixture,
                n_fake=n,
                **drawn(model, seed, truncation, ema, circumstances),
            )
            for name in self.metric.names
        ]
