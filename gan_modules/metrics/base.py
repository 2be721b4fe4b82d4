"""The base of all metrics: features are extracted once, and states add up over processes."""

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
    """A score of fake samples, against real ones where it compares, by the features of a network.

    States are summed or gathered over processes, so that any split of the samples gives the value of one process.

    Args:
        network: Feature network, or what `feature_network` makes one of.
        keep_reals: Whether `reset` keeps the statistics of the reals, for reals that never change.

    Attributes:
        base_names: For each score that `compute` gives, its name by Inception and the prefix of its name by another
            network, since scores of two networks do not compare.
        deviation_names: The same two names for the standard deviation over the metric's own subsets or splits, which
            `compute` gives last; `None` where there is none.
        needs_reals: Whether the metric compares with reals; otherwise it ignores them.
    """

    base_names: ClassVar[tuple[tuple[str, str], ...]]
    deviation_names: ClassVar[tuple[str, str] | None] = None
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
        return tuple(self._name(*names) for names in self.base_names)

    @property
    def deviation(self) -> str:
        """The name of the standard deviation, such as ``kid_std`` or ``kd_std_digits``; empty where there is none."""
        return self._name(*self.deviation_names) if self.deviation_names else ""

    def _name(self, published: str, prefix: str) -> str:
        return published if self.network.name == "inception" else f"{prefix}_{self.network.name}"

    def update(self, samples: Tensor, real: bool, *, are_features: bool = False) -> None:
        """Add samples of the network's kind, or features made of them already.

        Args:
            samples: Images ``(N, C, H, W)``, uint8 or float in [-1, 1], or what else the network takes; or features.
            real: Whether they are real.
            are_features: Whether they are features ``(N, D)``.
        """
        if real and not self.needs_reals:
            return
        samples = samples.to(self.device)
        if not are_features:
            with torch.inference_mode():
                samples = self.network(samples)
        self.update_state(samples, real)

    def update_features(self, features: Tensor, real: bool) -> None:
        """Add features ``(N, D)`` of the network, which a pipeline extracts once for several metrics."""
        self.update(features, real, are_features=True)  # torchmetrics then discards a value computed before

    @abstractmethod
    def update_state(self, features: Tensor, real: bool) -> None:
        """Add features ``(N, D)`` to the states."""

    @abstractmethod
    def compute_values(self) -> tuple[Tensor, ...]:
        """Return the scores, in the order of `base_names`, and then the deviation.

        Raises:
            ValueError: There are too few samples.
        """

    def compute(self) -> dict[str, Tensor]:
        """Return the scores and the deviation by name, over all processes.

        Raises:
            GANError: If there are too few samples.
        """
        names = (*self.names, self.deviation) if self.deviation else self.names
        try:
            return dict(zip(names, self.compute_values(), strict=True))
        except ValueError as error:
            raise GANError(f"{type(self).__name__} cannot score: {error}") from error

    def reset(self) -> None:
        """Clear the states, except those of reals that are to be kept."""
        states = {name: getattr(self, name) for name in self._defaults if name.startswith("real_") and self.keep_reals}
        kept = {name: list(state) if isinstance(state, list) else state for name, state in states.items()}
        super().reset()
        for name, state in kept.items():
            setattr(self, name, state)

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Gather the states of all processes; one without samples takes part with an empty state."""
        for name, default in self._defaults.items():
            if isinstance(default, list) and not getattr(self, name):
                setattr(self, name, [self.cat_state(name)])
        super().sync(*args, **kwargs)

    def cat_state(self, name: str) -> Tensor:
        """Return a state of features as one tensor ``(N, D)``; N may be 0."""
        state = getattr(self, name)
        return dim_zero_cat(state) if len(state) else torch.empty(0, self.network.num_features, device=self.device)


class FeatureSetMetric(FeatureMetric, ABC):
    """A metric of all samples' features; its random draws do not depend on the order of the samples.

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

    def update_state(self, features: Tensor, real: bool) -> None:
        """Keep the features ``(N, D)``."""
        (self.real_features if real else self.fake_features).append(features)

    @property
    def real(self) -> Tensor:
        """Features of the reals, ``(N, D)``, sorted."""
        return _in_order(self.cat_state("real_features"))

    @property
    def fake(self) -> Tensor:
        """Features of the fakes, ``(M, D)``, sorted."""
        return _in_order(self.cat_state("fake_features"))


def _in_order(features: Tensor) -> Tensor:
    """Return rows sorted by their own values, so that draws are the same for any number of processes."""
    return features[features.double().sum(dim=1).argsort(stable=True)]
