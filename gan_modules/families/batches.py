"""Batches of any form as tuples of tensors, and what is odd about their samples.

Loaders give tensors, tuples, lists, dicts (as the data sets of Hugging Face do), arrays of numpy, and one batch for
each of several loaders. Training, prediction and callbacks see a tuple: samples first, then what belongs to each; or
the images of domain A, then those of domain B.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from gan_modules.engine.inputs import as_tensors
from gan_modules.errors import GANError
from gan_modules.families.data_spec import Kind

# entries of dicts, in any case; the first that is there counts
SAMPLES = [
    "image",
    "images",
    "img",
    "imgs",
    "pixel_values",
    "sample",
    "samples",
    "real",
    "reals",
    "x",
    "point",
    "points",
    "audio",
    "array",
    "input_values",
    "video",
    "videos",
    "jpg",
    "jpeg",
    "png",
    "webp",
]
LABELS = ["label", "labels", "class", "classes", "cls", "target", "targets", "y", "fine_label", "coarse_label"]
CAPTIONS = ["tokens", "input_ids", "caption", "captions", "text"]
DOMAINS = [
    ("a", "b"),
    ("image_a", "image_b"),
    ("real_a", "real_b"),
    ("domain_a", "domain_b"),
    ("source", "target"),
    ("input", "target"),
    ("input", "output"),
    ("input_image", "edited_image"),
    ("image", "target"),
]

OVERSHOOT = 1.25  # up to which resizing may carry samples beyond 1


def columns(batch: Any, conditions: Iterable[str] | None = None) -> Any:
    """Return a batch as a tuple ``(samples, condition)``, or ``(samples,)`` where there is no condition.

    A tuple or list keeps all its entries. What has no samples by a known name stays as it is.

    Args:
        batch: A tensor or array of samples; a tuple or list that begins with them; or a dict with one of the names in
            `SAMPLES` (or with such a dict by that name).
        conditions: Names of the condition in a dict; the first that is there counts. By default labels, then captions.
    """
    if isinstance(batch, Mapping):
        named = _by_lower_case(batch)
        samples = _first(named, SAMPLES)
        if isinstance(samples, Mapping):  # audio of Hugging Face
            samples = _first(_by_lower_case(samples), SAMPLES)
        if samples is None:
            return batch
        condition = _first(named, conditions or (*LABELS, *CAPTIONS))
        batch = (samples,) if condition is None else (samples, condition)
    batch = as_tensors(batch)
    return (batch,) if isinstance(batch, Tensor) else _as_tuple(batch)


def domains(batch: Any) -> Any:
    """Return a batch as a tuple ``(a, b)`` of the images of domain A and of domain B; what is neither stays as it is.

    Args:
        batch: A tuple or list of the two, or a dict with a pair of the names in `DOMAINS`. Each of the two may be a
            batch of its own, as several loaders give them, of which the samples count.
    """
    if isinstance(batch, Mapping):
        named = _by_lower_case(batch)
        pair = next((names for names in DOMAINS if named.keys() >= {*names}), None)
        if pair is None:
            return columns(batch)
        batch = tuple(named[name] for name in pair)
    batch = as_tensors(batch)
    if isinstance(batch, Tensor):
        return (batch,)
    if not isinstance(batch, tuple | list):
        return batch
    a_and_b = [part if isinstance(part, Tensor) else _samples_of(part) for part in batch[:2]]
    return (*a_and_b, *batch[2:])


def description(batch: Any) -> str:
    """Return in words what a batch is, for messages."""
    if isinstance(batch, Mapping):
        return f"a dict of {', '.join(map(str, batch)) or 'nothing'}"
    if isinstance(batch, tuple | list):
        kinds = [description(part) for part in batch[:3]] + ["…"] * (len(batch) > 3)
        return f"a {type(batch).__name__} of {', '.join(kinds) or 'nothing'}"
    if isinstance(batch, Tensor):
        return f"a tensor {tuple(batch.shape)}"
    return f"a {type(batch).__name__}"


def has_samples(batch: Any) -> bool:
    """Return whether a batch is a tuple or list that begins with samples."""
    return isinstance(batch, tuple | list) and bool(batch) and isinstance(batch[0], Tensor)


def with_indices(batch: Any, device: torch.device, one_each: bool) -> Any:
    """Return a batch with its labels or tokens as int64, whatever integers they come as; all else stays as it is.

    Args:
        batch: As from `columns`.
        device: Where lists of integers are put.
        one_each: Whether each sample has one, so that a column ``(N, 1)`` becomes ``(N,)``.
    """
    if not isinstance(batch, tuple | list) or len(batch) < 2:
        return batch
    condition = batch[1]
    if isinstance(condition, list | tuple) and condition and all(isinstance(value, int) for value in condition):
        condition = torch.tensor(condition, device=device)
    if isinstance(condition, Tensor) and not condition.is_floating_point():
        condition = condition.long().flatten() if one_each and condition.shape[1:] == (1,) else condition.long()
    return batch if condition is batch[1] else (batch[0], condition, *batch[2:])


def left_out(loaders: Any, name: str) -> Iterator[str]:
    """Yield a sentence where a model of samples is trained on several loaders, whose batches come beside each other."""
    if isinstance(loaders, list | tuple | Mapping) and len(loaders) > 1:
        yield f"{name} takes its samples from the first of {len(loaders)} loaders: give it one, of a ConcatDataset."


def check_samples(batch: Any, name: str) -> None:
    """Refuse a batch without samples.

    Raises:
        GANError: If so, naming what is there and the remedy.
    """
    if has_samples(batch):
        return
    several = isinstance(batch, tuple | list) and len(batch) > 1 and isinstance(batch[0], tuple | list | dict)
    remedy = "give it one loader, of a ConcatDataset" if several else "rename, collate or convert the entries"
    raise GANError(
        f"{name} takes samples (N, …), (samples, condition), or a dict with samples as 'image' and labels as 'label', "
        f"but the batch is {description(batch)}: {remedy}, or override columns(batch)."
    )


def check_shape(samples: Tensor, expected: tuple[int, ...], key: str, name: str) -> None:
    """Compare samples ``(N, …)`` with the shape that a model was built for.

    Args:
        samples: Of a batch.
        expected: The shape of one.
        key: The argument of the model that gives it.
        name: The model's, for the message.

    Raises:
        GANError: If they differ, naming the remedy: to move or add an axis, or to pass another shape.
    """
    found = tuple(samples.shape[1:])
    if found == expected:
        return
    remedy = f"pass {key}={found} to the model"
    if tuple(samples.shape) == expected:
        found, remedy = tuple(samples.shape), "each is one sample, so let the loader collate them, or add an axis"
    elif len(found) == len(expected) > 1 and found[0] != expected[0] and found[-1] == expected[0]:
        order = (0, len(found), *range(1, len(found)))
        remedy = f"the channels come last, so move them to the front, x.permute{order}"
    elif len(expected) == 4 and len(found) == 4 and found[1] == expected[0] and found[0] != expected[0]:
        remedy = "the channels come after the frames, so move them to the front, x.transpose(1, 2)"
    elif (1, *found) == expected:
        remedy = "the axis of channels is missing, so add it, x.unsqueeze(1)"
    elif len(found) != len(expected):
        remedy = f"bring samples of {expected}, or choose another kind of model"
    raise GANError(f"{name} was built for {key}={expected}, but the batch holds samples of {found}: {remedy}.")


def check_floats(samples: Tensor) -> None:
    """Refuse samples that are no floats.

    Raises:
        GANError: If so, naming the scale.
    """
    if not samples.dtype.is_floating_point:
        scale = "x / 32768" if samples.dtype == torch.int16 else "x / 127.5 - 1"
        raise GANError(f"The batch holds {samples.dtype}, not floats: scale the samples to [-1, 1], {scale}.")


def check_labels(labels: Any, num_classes: int, name: str) -> None:
    """Refuse labels ``(N,)`` that are no classes of a model; other forms are left to models that know them.

    Raises:
        GANError: If so, naming the remedy.
    """
    if not isinstance(labels, Tensor) or labels.ndim != 1 or not len(labels):
        return
    if labels.is_floating_point():
        raise GANError(f"{name} takes labels as integers, and the batch's are {labels.dtype}: convert them, y.long().")
    least, most = (int(value) for value in labels.aminmax())
    if not 0 <= least <= most < num_classes:
        raise GANError(
            f"{name} was built for num_classes={num_classes}, labels from 0 to {num_classes - 1}, and a batch's go "
            f"from {least} to {most}: pass num_classes={most + 1} to the model, or count the labels from 0."
        )


def odd_range(samples: Tensor, kind: Kind, what: str, name: str) -> Iterator[str]:
    """Yield a sentence where samples of a batch do not lie in [-1, 1] as a model's do.

    Args:
        samples: Floats ``(N, …)``.
        kind: Theirs; points may lie anywhere.
        what: What they are, for the sentence: "samples", "images of domain A".
        name: The model's.
    """
    if kind == "point" or not samples.numel():
        return
    least, most = (float(value) for value in samples.aminmax())
    if least == most:
        return
    if least >= 0 and most <= 1:
        found, scale = "[0, 1]", "2 * x - 1"
    elif least >= 0 and most <= 255 and most > OVERSHOOT:
        found, scale = "[0, 255]", "x / 127.5 - 1"
    elif max(-least, most) > OVERSHOOT:
        found, scale = f"[{least:.3g}, {most:.3g}]", "and leave other normalizations out"
    elif kind != "audio" and max(-least, most) <= 0.5:
        found, scale = "[-0.5, 0.5]", "2 * x"
    else:
        return
    yield f"The {what} of the first batch lie in {found}, and those of {name} in [-1, 1]: scale them, {scale}."


def _by_lower_case(batch: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(name).lower(): value for name, value in batch.items()}


def _first(named: Mapping[str, Any], names: Iterable[str]) -> Any:
    return next((named[name] for name in names if name in named), None)


def _samples_of(part: Any) -> Any:
    """Return the samples of a domain's own batch."""
    own = columns(part)
    return own[0] if isinstance(own, tuple) and own else own


def _as_tuple(batch: Any) -> Any:
    return tuple(batch) if isinstance(batch, list) else batch
