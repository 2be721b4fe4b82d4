"""Scores by a classifier's view of the images."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from gan_modules.errors import GANError
from gan_modules.functional.classes import inception_score, mode_divergence
from gan_modules.metrics.base import FeatureMetric, FeatureSetMetric
from gan_modules.metrics.features import ClassifyingNetwork


def classifying(network: nn.Module) -> ClassifyingNetwork:
    """Return the network, known to classify.

    Raises:
        GANError: If it does not.
    """
    if not isinstance(network, ClassifyingNetwork):
        name = getattr(network, "name", type(network).__name__)
        raise GANError(f"The feature network '{name}' does not classify: choose digits, inception or a classifier.")
    return network


class InceptionScore(FeatureSetMetric):
    """Inception Score (arXiv:1606.03498) with its standard deviation over splits, by any classifier.

    Args:
        network: See `FeatureMetric`; one that classifies.
        splits: Number of parts, each scored on its own.

    Raises:
        GANError: If the network does not classify.
    """

    base_names = (("is", "is"),)
    deviation_names = ("is_std", "is_std")
    needs_reals = False
    higher_is_better = True

    def __init__(self, network: str | Path | nn.Module = "inception", splits: int = 10) -> None:
        super().__init__(network)
        classifying(self.network)
        self.splits = splits

    def compute_values(self) -> tuple[Tensor, ...]:
        """Return the mean and the standard deviation."""
        return inception_score(classifying(self.network).logits(self.fake), self.splits)


class StackedModes(FeatureMetric):
    """Modes reached by RGB images whose channels each show a class: 1000 of Stacked MNIST (arXiv:1611.02163).

    A mode is reached by its first sample. The divergence is KL(samples ‖ data) in nats. The data's modes are counted
    where reals are given; otherwise they are equally likely, as in published figures.

    Args:
        network: Classifier of one channel, such as ``digits``.
        keep_reals: See `FeatureMetric`.

    Raises:
        GANError: If the network does not classify.
    """

    base_names = (("modes", "modes"), ("mode_kl", "mode_kl"))
    real_counts: Tensor
    fake_counts: Tensor

    def __init__(self, network: str | Path | nn.Module, *, keep_reals: bool = False) -> None:
        super().__init__(network, keep_reals=keep_reals)
        modes = classifying(self.network).num_classes ** 3
        self.add_state("real_counts", torch.zeros(modes, dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("fake_counts", torch.zeros(modes, dtype=torch.long), dist_reduce_fx="sum")

    def update(self, samples: Tensor, real: bool, *, are_features: bool = False) -> None:
        """Add images ``(N, 3, H, W)``, uint8 or float in [-1, 1], or features ``(3 N, D)`` of their channels.

        Raises:
            GANError: If images do not have three channels.
        """
        if not are_features:
            if samples.shape[1] != 3:
                raise GANError(
                    f"Stacked images have three channels, and these have {samples.shape[1]}: leave out the metric "
                    f"'modes'."
                )
            samples = samples.flatten(0, 1)[:, None]
        super().update(samples, real, are_features=are_features)

    def update_state(self, features: Tensor, real: bool) -> None:
        """Count the modes of features ``(3 N, D)``; three in a row are the channels of one image."""
        network = classifying(self.network)
        digits = network.logits(features).argmax(dim=1).view(-1, 3)
        places = network.num_classes ** torch.arange(2, -1, -1, device=digits.device)
        name = "real_counts" if real else "fake_counts"
        counts = (digits * places).sum(dim=1).bincount(minlength=network.num_classes**3)
        setattr(self, name, getattr(self, name) + counts)

    def compute_values(self) -> tuple[Tensor, ...]:
        """Return the modes reached and the divergence."""
        if not self.fake_counts.any():
            raise ValueError("there are no samples.")
        return (self.fake_counts > 0).sum(), mode_divergence(self.fake_counts, self.real_counts)
