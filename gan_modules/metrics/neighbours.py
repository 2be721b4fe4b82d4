"""Metrics by nearest neighbours: where fakes lie among reals, and which are copies."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from gan_modules.functional.neighbours import density_coverage, duplicate_rates, precision_recall
from gan_modules.metrics.base import FeatureSetMetric


class PrecisionRecall(FeatureSetMetric):
    """Improved precision and recall (arXiv:1904.06991): shares of fakes among the reals, of reals among the fakes.

    Args:
        network: See `FeatureMetric`; the paper takes a VGG16.
        k: Neighbour that bounds a sample's ball, the paper's k.
        keep_reals: See `FeatureMetric`.
    """

    base_names = (("precision", "precision"), ("recall", "recall"))
    higher_is_better = True

    def __init__(self, network: str | Path | nn.Module = "inception", k: int = 3, *, keep_reals: bool = False) -> None:
        super().__init__(network, keep_reals=keep_reals)
        self.k = k

    def compute_values(self) -> tuple[Tensor, ...]:
        """Return precision and recall."""
        return precision_recall(self.real, self.fake, self.k)


class DensityCoverage(FeatureSetMetric):
    """Density and coverage (arXiv:2002.09797), more robust to outliers than precision and recall.

    Args:
        network: See `FeatureMetric`.
        k: Neighbour that bounds a real's ball, the paper's k.
        keep_reals: See `FeatureMetric`.
    """

    base_names = (("density", "density"), ("coverage", "coverage"))
    higher_is_better = True

    def __init__(self, network: str | Path | nn.Module = "inception", k: int = 5, *, keep_reals: bool = False) -> None:
        super().__init__(network, keep_reals=keep_reals)
        self.k = k

    def compute_values(self) -> tuple[Tensor, ...]:
        """Return density and coverage."""
        return density_coverage(self.real, self.fake, self.k)


class DuplicateRate(FeatureSetMetric):
    """Share of fakes with a near twin among the fakes, and share with one among the reals, the training images.

    Near means nearer than all but a share `quantile` of as many reals are to each other: both scores are about
    `quantile` for a perfect generator; see `gan_modules.functional.neighbours.duplicate_rates`.

    Args:
        network: See `FeatureMetric`.
        quantile: Share of the reals that count as twins.
        keep_reals: See `FeatureMetric`.
    """

    base_names = (("duplicates", "duplicates"), ("memorised", "memorised"))
    higher_is_better = False

    def __init__(
        self, network: str | Path | nn.Module = "inception", quantile: float = 0.01, *, keep_reals: bool = False
    ) -> None:
        super().__init__(network, keep_reals=keep_reals)
        self.quantile = quantile

    def compute_values(self) -> tuple[Tensor, ...]:
        """Return the share of repeated fakes and the share of memorised ones."""
        return duplicate_rates(self.real, self.fake, self.quantile)
