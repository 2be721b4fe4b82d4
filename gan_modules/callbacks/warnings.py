"""From diagnostics to sentences: what goes wrong in a game, and what to try."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """The limits beyond which a figure leads to a warning.

    Attributes:
        duplicates: Largest share of samples with a near twin.
        coverage: Smallest share of the reals with a sample nearby.
        forgotten: Largest part of its best coverage that a generator may lose.
        overfit: Largest share of pairs in which D ranks a training sample above a held-out one; a half is fair.
        ahead: Largest share of pairs in which D ranks a real above a sample, while coverage is too low.
        behind: Smallest such share, while coverage is too low.
        saturation: Largest excess of the share of values beyond ±0.99 over that of the reals.
        vanished: Smallest norm of a player's gradient.
        exploded: Largest norm of a player's gradient.
        growth: Largest factor by which a layer's spectral norm grows between two checks.
    """

    duplicates: float = 0.2
    coverage: float = 0.05
    forgotten: float = 0.5
    overfit: float = 0.75
    ahead: float = 0.999
    behind: float = 0.55
    saturation: float = 0.25
    vanished: float = 1e-6
    exploded: float = 1e4
    growth: float = 2.0


def find_warnings(
    figures: Mapping[str, float], limits: Limits, best_step: int, grown: Mapping[str, str]
) -> dict[str, str]:
    """Return a sentence for each figure beyond its limit, by name; unknown figures are ignored.

    Args:
        figures: Figures of `Diagnose`.
        limits: Their limits.
        best_step: Step of the best coverage so far.
        grown: For each player, the layer that has grown most.
    """
    f = defaultdict(lambda: math.nan, figures)  # every comparison with NaN is false
    found: dict[str, str] = {}
    if f["duplicates"] > limits.duplicates:
        found["duplicates"] = (
            f"G repeats itself: {f['duplicates']:.0%} of {f['samples']:.0f} samples have a near twin among them, of as "
            f"many reals 1%; try a lower lr_g, larger batches, or a game with a gradient penalty."
        )
    if poor := f["coverage"] < limits.coverage:
        found["coverage"] = (
            f"G misses most of the data: its samples come near {f['coverage']:.0%} of the reals; train longer, and if "
            f"that does not help, try larger batches, a larger generator or another balance of lr_g and lr_d."
        )
    elif f["coverage"] < (1 - limits.forgotten) * f["best_coverage"]:
        found["coverage"] = (
            f"G forgets: its samples come near {f['coverage']:.0%} of the reals, and came near "
            f"{f['best_coverage']:.0%} at step {best_step}; resume from a checkpoint of that time, with lower "
            f"learning rates."
        )
    if f["auc"] > limits.ahead and poor:
        found["balance"] = (
            f"D leaves G behind: it ranks a real above a sample in {f['auc']:.1%} of pairs, and G does not catch up; "
            f"try a lower lr_d, a higher lr_g, or a penalty on the gradient of D."
        )
    if f["auc"] < limits.behind and poor:
        found["balance"] = (
            f"D cannot tell samples from reals, though they differ: it ranks the real higher in {f['auc']:.0%} of "
            f"pairs; try a higher lr_d, a higher n_critic or a larger discriminator."
        )
    if f["overfit"] > limits.overfit:
        found["overfit"] = (
            f"D overfits: it ranks a training sample above a held-out one in {f['overfit']:.0%} of "
            f"pairs, where a half is fair; try more or augmented data, a smaller discriminator, or a gradient penalty."
        )
    if f["saturation"] - f["saturation_real"] > limits.saturation:
        found["saturation"] = (
            f"The samples are saturated: {f['saturation']:.0%} of their values lie beyond ±0.99, of the reals' "
            f"{f['saturation_real']:.0%}, where tanh has hardly any gradient; try a lower lr_g or clip_norm=1.0."
        )
    for player, layer in grown.items():
        gradient, growth = f[f"gradient_{player}"], f[f"growth_{player}"]
        if gradient < limits.vanished:
            found[f"gradient_{player}"] = (
                f"The {player}'s gradient has vanished: its norm is {gradient:.1e}; try another loss, a lower learning "
                f"rate of the other player, or restart from an earlier checkpoint."
            )
        if gradient > limits.exploded:
            found[f"gradient_{player}"] = (
                f"The {player}'s gradient explodes: its norm is {gradient:.1e}; try clip_norm=1.0 or a lower "
                f"learning rate."
            )
        if growth > limits.growth:
            found[f"growth_{player}"] = (
                f"The {player}'s weights grow without bound: the spectral norm of {layer} is {growth:.1f} times that "
                f"of the check before; try a lower learning rate, clip_norm=1.0 or a gradient penalty."
            )
    return found
