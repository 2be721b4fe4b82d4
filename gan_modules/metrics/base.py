"""What every metric shares: features are extracted once, and states add up over processes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.utilities.data import dim_zero_cat

from gan_modules.errors import GANError
from gan_modules.metrics.features import FeatureNetwork
from gan_modules.metrics.networks import feature_network


class FeatureMetric(Metric, ABC):
    """A score of fake images, and of real ones where it compares, by the features of a network.

    States are summed or gathered over processes, so that any split of the images gives one process's value.

    Args:
        network: Feature network, or what `feature_network` makes one of.
        keep_reals: Whether `reset` leaves the statistics of the reals, for reals that never change.

    Attributes:
        titles: The scores that `compute` gives: each one's name by Inception, and the beginning of its name by
            another network, whose scores do not compare.
        deviation_title: The same of its one score's standard deviation over its own subsets or splits, where it has
            such, which `compute` gives last.
        needs_reals: Whether it compares with reals; where it does not, those that it is shown are not looked at.
    """

    titles: ClassVar[tuple[tuple[str, str], ...]]
    deviation_title: ClassVar[tuple[str, str] | None] = None
    needs_reals: ClassVar[bool] = True
    is_differentiable = False
    full_state_update = False

    def __init__(self, network: str | Path | nn.Module = "inception", *, keep_reals: bool = False) -> None:
        super().__init__()
        self.network: FeatureNetwork = feature_network(network)
        self.keep_reals = keep_reals

    @property
    def names(self) -> tuple[str, ...]:
        """The scores' names: ``fid`` by Inception, ``fd_digits`` by the digits' features."""
        return tuple(self._name(*title) for title in self.titles)

    @property
    def deviation(self) -> str:
        """The name of the standard deviation, which is no score itself: ``kid_std``, ``kd_std_digits``; or empty."""
        return self._name(*self.deviation_title) if self.deviation_title else ""

    def _name(self, published: str, prefix: str) -> str:
        return published if self.network.name == "inception" else f"{prefix}_{self.network.name}"

    def update(self, images: Tensor, real: bool) -> None:
        """Take in images ``(N, C, H, W)``, uint8 or float in [-1, 1], or features ``(N, D)`` made of them already."""
        if real and not self.needs_reals:
            return
        features = images.to(self.device)
        if images.ndim == 4:
            with torch.inference_mode():
                features = self.network(features)
        self.take(features, real)

    def update_features(self, features: Tensor, real: bool) -> None:
        """Take in features ``(N, D)`` of the network: a pipeline extracts them once for several metrics."""
        self.update(features, real)  # which tells torchmetrics that a value computed before is out of date

    @abstractmethod
    def take(self, features: Tensor, real: bool) -> None:
        """Add features ``(N, D)`` to the states."""

    @abstractmethod
    def values(self) -> tuple[Tensor, ...]:
        """The scores, in the order of their titles, and the deviation.

        Raises:
            ValueError: There are too few samples.
        """

    def compute(self) -> dict[str, Tensor]:
        """The scores by name, and the deviation by its own, over all processes.

        Raises:
            GANError: If there are too few samples.
        """
        names = (*self.names, self.deviation) if self.deviation else self.names
        try:
            return dict(zip(names, self.values(), strict=True))
        except ValueError as error:
            raise GANError(f"{type(self).__name__} cannot score: {error}") from error

    def reset(self) -> None:
        """Begin anew, but for the reals where they are to be kept."""
        states = {name: getattr(self, name) for name in self._defaults if name.startswith("real_") and self.keep_reals}
        kept = {name: list(state) if isinstance(state, list) else state for name, state in states.items()}
        super().reset()
        for name, state in kept.items():
            setattr(self, name, state)

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Gather what the processes have; one that has seen nothing gathers as well."""
        for name, default in self._defaults.items():
            if isinstance(default, list) and not getattr(self, name):
                setattr(self, name, [self.whole(name)])
        super().sync(*args, **kwargs)

    def whole(self, name: str) -> Tensor:
        """A state of features as one tensor ``(N, D)``, though there be none."""
        state = getattr(self, name)
        return dim_zero_cat(state) if len(state) else torch.empty(0, self.network.num_features, device=self.device)


class FeatureSetMetric(FeatureMetric, ABC):
    """A metric that needs every sample's features; what it draws at random is the same in every order of the images.

    Args:
        network: See `FeatureMetric`.
        keep_reals: See `FeatureMetric`.
    """

    real_features: list[Tensor]
    fake_features: list[Tensor]

    def __init__(self, network: str | Path | nn.Module = "inception", *, keep_reals: bool = False) -> None:
        super().__init__(network, keep_reals=keep_reals)
        self.add_state("real_features", [], dist_reduce_fx="cat")
        self.add_state("fake_features", [], dist_reduce_fx="cat")

    def take(self, features: Tensor, real: bool) -> None:
        """Keep the features ``(N, D)``."""
        (self.real_features if real else self.fake_features).append(features)

    @property
    def real(self) -> Tensor:
        """Features of the reals, ``(N, D)``, sorted."""
        return _in_order(self.whole("real_features"))

    @property
    def fake(self) -> Tensor:
        """Features of the fakes, ``(M, D)``, sorted."""
        return _in_order(self.whole("fake_features"))


def _in_order(features: Tensor) -> Tensor:
    """Rows in an order that they fix themselves: whatever is drawn then is the same for any number of processes."""
    return features[features.double().sum(dim=1).argsort(stable=True)]
