"""Feature networks by name, and by the kind of samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from torch import nn

from gan_modules.errors import GANError
from gan_modules.families.data_spec import Kind
from gan_modules.metrics.classifier import ClassifierFeatures, DigitFeatures
from gan_modules.metrics.features import FeatureNetwork, ModuleFeatures
from gan_modules.metrics.inception import InceptionFeatures
from gan_modules.metrics.kinds import CoordinateFeatures, FrameFeatures, SpectrogramFeatures
from gan_modules.metrics.lpips import LPIPSFeatures
from gan_modules.metrics.transformers import CLIPFeatures, DINOv2Features

PUBLISHED: dict[str, Callable[..., FeatureNetwork]] = {
    "inception": InceptionFeatures,
    "clip": CLIPFeatures,
    "dinov2": DINOv2Features,
    "lpips": LPIPSFeatures,
}


def feature_network(which: str | Path | nn.Module, weights: str | Path | None = None) -> FeatureNetwork:
    """Return the feature network that a name, a file or a module stands for.

    Args:
        which: ``digits``, ``inception``, ``clip``, ``dinov2`` or ``lpips``; a safetensors file of a classifier that
            ``examples/train_classifier.py`` wrote; or a module, see `ModuleFeatures`.
        weights: File of the named network's weights; by default they are downloaded once.

    Raises:
        GANError: If the weights are missing or damaged, or there is no such network.

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


def features_for(
    kind: Kind,
    sample_shape: Sequence[int],
    which: str | Path | nn.Module | None = None,
    weights: str | Path | None = None,
) -> FeatureNetwork:
    """Return the feature network for samples of a kind.

    Args:
        kind: Kind of the samples.
        sample_shape: Shape of a sample.
        which: See `feature_network`; a network of images takes a video's frames. By default Inception for images and
            videos, `SpectrogramFeatures` for audio and `CoordinateFeatures` for points.
        weights: See `feature_network`.

    Raises:
        GANError: If the network takes other samples, or `feature_network` refuses.

    >>> features_for("point", (2,)).name
    'coordinates'
    """
    if which is None and kind == "point":
        return CoordinateFeatures(*sample_shape)
    if which is None and kind == "audio":
        return SpectrogramFeatures()
    network = feature_network("inception" if which is None else which, weights)
    if kind == "video" and network.kind == "image":
        return FrameFeatures(network)
    if network.kind != kind:
        raise GANError(
            f"The feature network '{network.name}' takes samples of kind {network.kind}, and these are of kind {kind}: "
            f"leave it out, or pass one of your own whose kind is '{kind}'."
        )
    return network
