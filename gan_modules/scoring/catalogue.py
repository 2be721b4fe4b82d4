"""Metrics by the names that the command line and configurations give them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

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
    """Raise GANError, with the nearest name there is, unless all these are names of metrics, and not none."""
    listed = list(names)
    if not listed:
        raise GANError(f"Name at least one metric: there are {', '.join(METRICS)}.")
    for name in listed:
        if name not in METRICS:
            near = difflib.get_close_matches(name, METRICS, n=1)
            meant = f", did you mean '{near[0]}'?" if near else ""
            raise GANError(f"There is no metric '{name}'{meant} (there are {', '.join(METRICS)}).")


def build_metrics(names: Iterable[str], network: FeatureNetwork) -> list[Measure]:
    """One metric of each kind that the names stand for, by one network, to be shown the reals once.

    Raises:
        GANError: If a name is unknown, or the network has not what a metric needs.
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
    """Whether samples improve as this score of the metric grows."""
    if metric.higher_is_better is None:  # of modes, the more the better; of their divergence, the less
        return name.startswith("modes")
    return bool(metric.higher_is_better)
