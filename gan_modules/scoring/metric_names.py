"""Metrics by their names on the command line and in configurations."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable
from typing import Any

from gan_modules.errors import GANError
from gan_modules.metrics.base import FeatureMetric
from gan_modules.metrics.classes import InceptionScore, StackedModes
from gan_modules.metrics.distances import FrechetDistance, KernelDistance, MemorizationInformedDistance
from gan_modules.metrics.features import FeatureNetwork
from gan_modules.metrics.neighbours import DensityCoverage, DuplicateRate, PrecisionRecall
from gan_modules.metrics.variety import PerceptualDiversity, PerceptualPathLength

Measure = FeatureMetric | PerceptualPathLength
METRICS: dict[str, tuple[type[Measure], ...]] = {
    "fid": (FrechetDistance,),
    "kid": (KernelDistance,),
    "is": (InceptionScore,),
    "mifid": (MemorizationInformedDistance,),
    "pr": (PrecisionRecall,),
    "dc": (DensityCoverage,),
    "prdc": (PrecisionRecall, DensityCoverage),
    "duplicates": (DuplicateRate,),
    "diversity": (PerceptualDiversity,),
    "modes": (StackedModes,),
    "ppl": (PerceptualPathLength,),
}


def check_names(names: Iterable[str]) -> None:
    """Check names of metrics.

    Raises:
        GANError: If there are none, or one is unknown; the message suggests the nearest.
    """
    listed = list(names)
    if not listed:
        raise GANError(f"Name at least one metric: there are {', '.join(METRICS)}.")
    for name in listed:
        if name not in METRICS:
            near = difflib.get_close_matches(name, METRICS, n=1)
            meant = f", did you mean '{near[0]}'?" if near else ""
            raise GANError(f"There is no metric '{name}'{meant} (there are {', '.join(METRICS)}).")


def build_metrics(names: Iterable[str], network: FeatureNetwork) -> list[Measure]:
    """Return the metrics of these names, each once, which share a network and keep their reals.

    Raises:
        GANError: If a name is unknown, or the network lacks what a metric needs.
    """
    listed = list(names)
    check_names(listed)
    kinds = dict.fromkeys(kind for name in listed for kind in METRICS[name])
    metrics = [kind(network) for kind in kinds]
    for metric in metrics:
        if isinstance(metric, FeatureMetric):
            metric.keep_reals = True
    return metrics


def is_better_higher(metric: Measure, name: str) -> bool:
    """Return whether a larger value of this score means better samples."""
    if metric.higher_is_better is None:  # more modes are better, and less divergence
        return name.startswith("modes")
    return bool(metric.higher_is_better)


def settings_of(metric: Measure) -> dict[str, Any]:
    """Return the metric's own parameters that are numbers or strings."""
    values = {name: getattr(metric, name, None) for name in inspect.signature(type(metric).__init__).parameters}
    own = values.keys() - {"self", "network", "keep_reals"}
    return {name: values[name] for name in sorted(own) if isinstance(values[name], int | float | str)}
