"""The two normalisations of the image-to-image networks, as their authors configure them."""

from typing import Literal

from torch import nn

Norm = Literal["batch", "instance"]


def norm_layer(norm: Norm, channels: int) -> nn.Module:
    """Normalise over the batch, with learned scale and shift, or over each image, with neither.

    A convolution before the first needs no bias (`needs_bias`): the shift follows.

    Raises:
        ValueError: There is no such normalisation.
    """
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    if norm == "instance":
        return nn.InstanceNorm2d(channels)
    raise ValueError(f"norm={norm!r} must be 'batch' or 'instance'.")


def needs_bias(norm: Norm) -> bool:
    """Whether a convolution keeps its bias before this normalisation."""
    return norm == "instance"
