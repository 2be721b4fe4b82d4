"""Scoring of models that make points: the modes of a mixture that their samples reach."""

from __future__ import annotations

from typing import Unpack

import torch

from gan_modules.errors import GANError
from gan_modules.families.capabilities import Samples
from gan_modules.metrics.modes import ModeCoverage
from gan_modules.scoring.evaluate import RunInfo, sampling_info
from gan_modules.scoring.generation import SampleStream, sampled_classes
from gan_modules.scoring.record import Score


class PointEvaluator:
    """Counts the modes that the samples of one model after another reach; it needs no reals.

    Args:
        metric: Knows the mixture.
        batch_size: Points through the generator at a time.
        device: Where to count.
    """

    def __init__(self, metric: ModeCoverage, *, batch_size: int = 64, device: str | torch.device = "cpu") -> None:
        self.metric = metric.to(device)
        self.batch_size = batch_size

    def check_model(self, model: Samples) -> None:
        """Compare the model's points and classes with the mixture's.

        Raises:
            GANError: If they differ.
        """
        modes, *shape = self.metric.centres.shape
        if model.kind != "point" or [*model.sample_shape] != shape or sampled_classes(model) not in (0, modes):
            raise GANError(
                f"The model makes samples {tuple(model.sample_shape)} of {sampled_classes(model)} classes, and the "
                f"mixture has {modes} modes of {tuple(shape)}: choose the data that it was trained on."
            )

    def evaluate(
        self,
        model: Samples,
        n: int,
        seed: int = 0,
        truncation: float = 1.0,
        ema: bool = True,
        **info: Unpack[RunInfo],
    ) -> list[Score]:
        """Return the scores of `n` samples of a model, all its classes equally often.

        Raises:
            GANError: If the model's points are not the mixture's.
        """
        self.check_model(model)
        classes = torch.ones(sampled_classes(model)) if sampled_classes(model) else None
        stream = SampleStream(model, self.batch_size, seed, condition_counts=classes, truncation=truncation, ema=ema)
        for points in stream.samples(n):
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
                **sampling_info(model, seed, truncation, ema, info | {"reals": "", "split": None}),
            )
            for name in self.metric.names
        ]
