"""Feature networks by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import nn

from gan_modules.errors import GANError
from gan_modules.metrics.classifier import ClassifierFeatures, DigitFeatures
from gan_modules.metrics.features import FeatureNetwork, ModuleFeatures
from gan_modules.metrics.inception import InceptionFeatures
from gan_modules.metrics.lpips import LPIPSFeatures
from gan_modules.metrics.transformers import CLIPFeatures, DINOv2Features

PUBLISHED: dict[str, Callable[..., FeatureNetwork]] = {
    "inception": InceptionFeatures,
    "clip": CLIPFeatures,
    "dinov2": DINOv2Features,
    "lpips": LPIPSFeatures,
}


def feature_network(which: str | Path | nn.Module, weights: str | Path | None = None) -> FeatureNetwork:
    """The feature network that a name, a file or a module stands for.

    Args:
        which: ``digits``, ``inception``, ``clip``, ``dinov2`` or ``lpips``; a safetensors file of a classifier that
            ``examples/train_classifier.py`` wrote; or any module from uint8 images to features with `num_features`.
        weights: File of the named network's weights; by default they are downloaded once.

    Raises:
        GANError: If the weights cannot be had, or nothing goes by that name.

    >>> feature_network("digits").num_features
    64
    """
    if isinstance(which, str) and which in PUBLISHED:
        return PUBLISHED[which](weights=weights)
    if weights is not None:
        raise GANError(f"weights belong to {', '.join(PUBLISHED)}: leave them out with {which!r}.")
    if isinstance(which, FeatureNetwork):
        return which
    if isinstance(which, nn.Module):
        return ModuleFeatures(which)
    if which == "digits":
        return DigitFeatures()
    if Path(which).suffix != ".safetensors":
        names = ", ".join(["digits", *PUBLISHED])
        raise GANError(f"There is no feature network '{which}': choose of {names}, or name a classifier's safetensors.")
    return ClassifierFeatures(which)
