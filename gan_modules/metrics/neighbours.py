"""Where the fakes lie among the reals, and which are copies."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from gan_modules.functional.neighbours import density_coverage, duplicate_rates, precision_recall
from gan_modules.metrics.base import FeatureSetMetric


class PrecisionRecall(FeatureSetMetric):
    """Improved precision and recall (arXiv:1904.06991): shares of fakes among the reals, of reals among the fakes.

    Args:
        network: See `FeatureMetric`; the paper takes a VGG16.
        k: Neighbour to which a sample's ball reaches, the paper's k.
        keep_reals: See `FeatureMetric`.
    """

    titles = (("precision", "precision"), ("recall", "recall"))
    higher_is_better = True

    def __init__(self, network: str | Path | nn.Module = "inception", k: int = 3, *, keep_reals: bool = False) -> None:
        super().__init__(network, keep_reals=keep_reals)
        self.k = k

    def values(self) -> tuple[Tensor, ...]:
        """Precision and recall."""
        return precision_recall(self.real, self.fake, self.k)


class DensityCoverage(FeatureSetMetric):
    """Density and coverage (arXiv:2002.09797), which outliers disturb less than precision and recall.

    Args:
        network: See `FeatureMetric`.
        k: Neighbour to which a real's ball reaches, the paper's k.
        keep_reals: See `FeatureMetric`.
    """

    titles = (("density", "density"), ("coverage", "coverage"))
    higher_is_better = True

    def __init__(self, network: str | Path | nn.Module = "inception", k: int = 5, *, keep_reals: bool = False) -> None:
        super().__init__(network, keep_reals=keep_reals)
        self.k = k

    def values(self) -> tuple[Tensor, ...]:
        """Density and coverage."""
        return density_coverage(self.real, self.fake, self.k)


class DuplicateRate(FeatureSetMetric):
    """Share of fakes with a near twin among the fakes, and with one among the reals: give it the training images.

    Near is what is rare among as many reals, so that both are about `quantile` for a perfect generator; see
    `gan_modules.functional.neighbours.duplicate_rates`.

    Args:
        network: See `FeatureMetric`.
        quantile: Share of reals that pass for twins.
        keep_reals: See `FeatureMetric`.
    """

    titles = (("duplicates", "duplicates"), ("memorised", "memorised"))
    higher_is_better = False

    def __init__(
        self, network: str | Path | nn.Module = "inception", quantile: float = 0.01, *, keep_reals: bool = False
    ) -> None:
        super().__init__(network, keep_reals=keep_reals)
        self.quantile = quantile

    def values(self) -> tuple[Tensor, ...]:
        """Shares of the repeated and of the memorised."""
        return duplicate_rates(self.real, self.fake, self.quantile)
