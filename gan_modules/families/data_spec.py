"""What a model and its data know about a sample: its kind, its shape, its classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from gan_modules.errors import GANError

Kind = Literal["image", "point", "audio", "video"]
# by kind, the argument that gives a sample's shape, and that shape's axes
SHAPES: dict[Kind, tuple[str, str]] = {
    "image": ("image_shape", "(C, H, W)"),
    "point": ("point_shape", "(D,)"),
    "audio": ("audio_shape", "(C, T)"),
    "video": ("video_shape", "(C, T, H, W)"),
}


def sample_kind(spec: Mapping[str, Any]) -> tuple[Kind, tuple[int, ...]]:
    """Return the kind and the shape of a sample.

    Args:
        spec: Of the keys of `SHAPES`, exactly one has a shape; the others are missing or `None`.

    Raises:
        GANError: If there is no shape, more than one, or one of another rank than its kind's.
    """
    shapes = {kind: spec[key] for kind, (key, _) in SHAPES.items() if spec.get(key) is not None}
    if len(shapes) != 1:
        keys = ", ".join(key for key, _ in SHAPES.values())
        raise GANError(f"A sample has one shape, and {len(shapes)} are given: pass exactly one of {keys}.")
    ((kind, shape),) = shapes.items()
    key, axes = SHAPES[kind]
    shape = tuple(shape)
    if len(shape) != _rank(axes):
        other = next((key for key, axes in SHAPES.values() if len(shape) == _rank(axes)), None)
        remedy = f"; for {shape} pass {other}" if other else ""
        raise GANError(f"{key}={shape} must have the form {axes}{remedy}.")
    return kind, shape


def data_spec(data: Any) -> dict[str, Any]:
    """Return what a datamodule knows: its `spec`, or, where it has none, the shapes and classes it names.

    >>> data_spec(type("Mine", (), {"image_shape": (1, 8, 8), "num_classes": 10}))
    {'image_shape': (1, 8, 8), 'num_classes': 10}
    """
    if (spec := getattr(data, "spec", None)) is not None:
        return dict(spec)
    keys = [key for key, _ in SHAPES.values()] + ["target_shape", "num_classes"]
    return {key: getattr(data, key) for key in keys if getattr(data, key, None) is not None}


def check_data_spec(model: Any, data: Any) -> None:
    """Compare what a model was built for with what its data are, as far as both say anything.

    Args:
        model: Has, as attributes, some of the keys of a spec.
        data: The datamodule, or `None`.

    Raises:
        GANError: If they differ, naming both sides and the argument to pass.
    """
    ours, theirs, spec = type(model).__name__, type(data).__name__, data_spec(data)
    kinds = {kind: (key, spec[key]) for kind, (key, _) in SHAPES.items() if spec.get(key) is not None}
    if kinds and (expected := getattr(model, "kind", None)) is not None and expected not in kinds:
        key, shape = next(iter(kinds.values()))
        raise GANError(
            f"{ours} was built for {SHAPES[expected][0]}={model.sample_shape}, but {theirs} has {key}={tuple(shape)}: "
            f"pass {key} to a model that takes it, or choose other data."
        )
    known = {*(key for key, _ in SHAPES.values()), "target_shape", "num_classes", *getattr(model, "hparams", ())}
    for key, value in spec.items():
        built = getattr(model, key, None) if key in known else None
        if built is None or _equal(built, value):
            continue
        if key == "num_classes":
            if not built:  # a model may leave the labels unused
                continue
            remedy = f"pass num_classes={value} to the model" if value else "choose data with labels"
            raise GANError(
                f"{ours} was built for num_classes={built}, but {theirs} has {value or 'no labels'}: {remedy}."
            )
        raise GANError(
            f"{ours} was built for {key}={built}, but {theirs} gives {value}: pass {key}={value} to the model, or "
            f"choose another {'size' if key.endswith('_shape') else key} for the data."
        )


def _rank(axes: str) -> int:
    return len(axes.strip("(,)").split(","))


def _equal(built: Any, value: Any) -> bool:
    if isinstance(built, Sequence) and isinstance(value, Sequence) and not isinstance(built, str):
        return tuple(built) == tuple(value)
    return bool(built == value)
