"""Distances between the distributions of fakes and reals."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from gan_modules.errors import GANError
from gan_modules.functional.frechet import frechet_distance, mean_and_covariance
from gan_modules.functional.kernels import kernel_distance
from gan_modules.functional.neighbours import memorization_distance
from gan_modules.metrics.base import FeatureMetric, FeatureSetMetric


class FrechetDistance(FeatureMetric):
    """Frechet distance between Gaussians fitted to features (arXiv:1706.08500, eq. 6): by Inception, FID.

    By CLIP it is CLIP-FID (arXiv:2203.06026), by DINOv2 FD-DINOv2 (arXiv:2306.04675). Sums are float64. The
    distance of few samples is biased upwards: compare it only with distances of equally many.

    Args:
        network: See `FeatureMetric`.
        keep_reals: See `FeatureMetric`.

    >>> metric = FrechetDistance("digits")
    >>> metric.update_features(torch.eye(64), real=True)
    >>> metric.update_features(torch.eye(64) + 1, real=False)
    >>> round(metric.compute()["fd_digits"].item(), 6)  # 64 features, each moved by 1
    64.0
    """

    base_names = (("fid", "fd"),)
    higher_is_better = False

    def __init__(self, network: str | Path | nn.Module = "inception", *, keep_reals: bool = False) -> None:
        super().__init__(network, keep_reals=keep_reals)
        self._given: tuple[Tensor, Tensor] | None = None
        length = self.network.num_features
        for side in ("real", "fake"):
            self.add_state(f"{side}_count", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")
            self.add_state(f"{side}_sum", torch.zeros(length, dtype=torch.float64), dist_reduce_fx="sum")
            self.add_state(f"{side}_products", torch.zeros(length, length, dtype=torch.float64), dist_reduce_fx="sum")

    def use_statistics(self, mean: Tensor, covariance: Tensor) -> None:
        """Compare with reals of this mean ``(D,)`` and covariance ``(D, D)`` from now on, whatever reals are added.

        Raises:
            GANError: If the network's features are not as many.
        """
        if len(mean) != self.network.num_features:
            raise GANError(
                f"The statistics are of {len(mean)} features, and the network '{self.network.name}' gives "
                f"{self.network.num_features}: choose the network that they were made with."
            )
        self._given = mean.double(), covariance.double()

    def update_state(self, features: Tensor, real: bool) -> None:
        """Add the features ``(N, D)`` and their products."""
        side, features = "real" if real else "fake", features.double()
        sums = {"count": len(features), "sum": features.sum(dim=0), "products": features.T @ features}
        for name, addend in sums.items():
            setattr(self, f"{side}_{name}", getattr(self, f"{side}_{name}") + addend)

    def compute_values(self) -> tuple[Tensor, ...]:
        """Return the distance."""
        return (frechet_distance(*self._gaussian("real"), *self._gaussian("fake")),)

    def _gaussian(self, side: str) -> tuple[Tensor, Tensor]:
        if side == "real" and self._given is not None:
            mean, covariance = self._given
            return mean.to(self.device), covariance.to(self.device)
        count, total, products = (getattr(self, f"{side}_{name}") for name in ("count", "sum", "products"))
        if count < 2:
            raise ValueError(f"at least two {side} samples are needed, and there are {int(count)}.")
        mean = total / count
        return mean, (products - count * mean.outer(mean)) / (count - 1)


class KernelDistance(FeatureSetMetric):
    """Kernel distance (arXiv:1801.01401) with its standard deviation over subsets: by Inception, KID.

    Args:
        network: See `FeatureMetric`.
        subsets: Number of subsets over which the mean is taken.
        subset_size: Samples in each subset; at most all of them.
        keep_reals: See `FeatureMetric`.
    """

    base_names = (("kid", "kd"),)
    deviation_names = ("kid_std", "kd_std")
    higher_is_better = False

    def __init__(
        self,
        network: str | Path | nn.Module = "inception",
        subsets: int = 100,
        subset_size: int = 1000,
        *,
        keep_reals: bool = False,
    ) -> None:
        super().__init__(network, keep_reals=keep_reals)
        self.subsets = subsets
        self.subset_size = subset_size

    def compute_values(self) -> tuple[Tensor, ...]:
        """Return the mean and the standard deviation."""
        return kernel_distance(self.real, self.fake, self.subsets, self.subset_size)


class MemorizationInformedDistance(FeatureSetMetric):
    """Frechet distance, divided by the memorization distance if that is small (arXiv:2106.03062): MiFID by Inception.

    The memorization distance is the mean over the **fakes** of the cosine distance to the nearest training image.

    Args:
        network: See `FeatureMetric`.
        threshold: Memorization distance from which nothing counts as memorised, the paper's τ.
        keep_reals: See `FeatureMetric`.
    """

    base_names = (("mifid", "mifd"),)
    higher_is_better = False

    def __init__(
        self, network: str | Path | nn.Module = "inception", threshold: float = 0.1, *, keep_reals: bool = False
    ) -> None:
        super().__init__(network, keep_reals=keep_reals)
        self.threshold = threshold

    def compute_values(self) -> tuple[Tensor, ...]:
        """Return the distance."""
        frechet = frechet_distance(*mean_and_covariance(self.real), *mean_and_covariance(self.fake))
        memorization = memorization_distance(self.real, self.fake)
        return (frechet / (memorization + 1e-15) if memorization < self.threshold else frechet,)
