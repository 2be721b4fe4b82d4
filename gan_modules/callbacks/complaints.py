"""From numbers to plain sentences: what is wrong with a game, and what to try."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Where a number becomes a complaint.

    Attributes:
        duplicates: Share of samples with a near twin.
        coverage: Least share of the reals near which there is a sample.
        forgotten: Part of its best coverage that a generator may lose.
        overfit: Share of pairs in which a training image is ranked above a held-out one; a half is fair.
        ahead: Greatest share of pairs in which D may rank a real above a sample while coverage is too low.
        behind: Least such share.
        saturation: Share of values beyond ±0.99, beyond that of the reals.
        vanished: Least norm of a player's gradient.
        exploded: Greatest norm of a player's gradient.
        growth: Greatest factor by which a layer's spectral norm may grow from one check to the next.
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


def complaints(
    figures: Mapping[str, float], limits: Limits, best_round: int, grown: Mapping[str, str]
) -> dict[str, str]:
    """What is wrong by these figures, by name; what is not known is not complained of.

    Args:
        figures: As `Diagnose` measures them.
        limits: Where a complaint begins.
        best_round: The round of the best coverage so far.
        grown: By player, the layer that has grown most.
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
            f"{f['best_coverage']:.0%} in round {best_round}; go back to a checkpoint of that time, with lower "
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
            f"D knows the training images by heart: it ranks one above a held-out image in {f['overfit']:.0%} of "
            f"pairs, where a half is fair; try more or augmented data, a smaller discriminator, or a gradient penalty."
        )
    if f["saturation"] - f["saturation_real"] > limits.saturation:
        found["saturation"] = (
            f"The samples are saturated: {f['saturation']:.0%} of their values lie beyond ±0.99, of the reals' "
            f"{f['saturation_real']:.0%}, and no gradient comes through there; try a lower lr_g or clip_norm=1.0."
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
                f"The {player}'s weights run away: the spectral norm of {layer} is {growth:.1f} times that of the "
                f"check before; try a lower learning rate, clip_norm=1.0 or a gradient penalty."
            )
    return found
