"""Whether a model and its data speak of the same images."""

from __future__ import annotations

from typing import Any, Protocol

from gan_modules.errors import GANError


class HasDataSpec(Protocol):
    """What knows its images: a model, or a datamodule."""

    image_shape: tuple[int, ...]
    num_classes: int


def check_data_spec(model: HasDataSpec, data: Any) -> None:
    """Compare a model with its data, as far as these say anything.

    Raises:
        GANError: If they disagree, naming both sides and the argument to pass.
    """
    ours, theirs = type(model).__name__, type(data).__name__
    shape = tuple(getattr(data, "image_shape", model.image_shape))
    if shape != model.image_shape:
        raise GANError(
            f"{ours} was built for image_shape={model.image_shape}, but {theirs} gives {shape}: pass "
            f"image_shape={shape} to the model, or choose another size for the data."
        )
    classes = getattr(data, "num_classes", model.num_classes)
    if model.num_classes and classes != model.num_classes:
        remedy = f"pass num_classes={classes} to the model" if classes else "choose data with labels"
        raise GANError(
            f"{ours} was built for num_classes={model.num_classes}, but {theirs} has {classes or 'no labels'}: "
            f"{remedy}."
        )
