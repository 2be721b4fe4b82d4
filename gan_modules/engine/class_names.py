"""The names of a model's classes: taken from its data, kept with it, and used in place of their numbers."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from torch import Tensor

from gan_modules.errors import GANError

Names = tuple[str, ...]
Labels = Tensor | Sequence[int] | Sequence[str] | Sequence[int | str] | int | str


def class_names(data: Any) -> Names:
    """Return the names that a datamodule or a file gives its classes, by label; none where it says nothing usable."""
    found = data if isinstance(data, list | tuple) else getattr(data, "classes", None)
    named = isinstance(found, list | tuple) and all(isinstance(name, str) for name in found)
    return tuple(found) if named and found is not None else ()


def agreed_names(ours: Names, theirs: Names, whose: str) -> Names:
    """Return the names of the classes of a model and of its data, or of its checkpoint.

    Raises:
        GANError: If both have names, and other ones.
    """
    if ours and theirs and ours != theirs:
        raise GANError(
            f"The model's classes are {', '.join(ours)}, and those of {whose} are {', '.join(theirs)}: use data with "
            f"the same classes in the same order, or set model.classes = () to train it on others."
        )
    return ours or theirs


def class_indices(labels: Labels | None, names: Names) -> Tensor | Sequence[int] | int | None:
    """Return labels as class indices.

    Args:
        labels: A class for all samples, or one for each: indices or names; a string may list several with commas.
        names: The classes' names.

    Raises:
        GANError: If there is no class of a name.

    >>> class_indices("dog", ("cat", "dog")), class_indices("dog,cat,1", ("cat", "dog")), class_indices(1, ())
    (1, [1, 0, 1], 1)
    """
    if labels is None or isinstance(labels, int | Tensor):
        return labels
    if isinstance(labels, str):
        if labels not in names and "," in labels:
            return [_index(part.strip(), names) for part in labels.split(",")]
        return _index(labels, names)
    return [_index(label, names) for label in labels]


def _index(label: int | str, names: Names) -> int:
    if not isinstance(label, str):
        return label
    if label in names:
        return names.index(label)
    if label.isdecimal():
        return int(label)
    if not names:
        raise GANError(f"There is no class '{label}': the model's classes have no names, so pass their numbers.")
    near = get_close_matches(label, names, n=1)
    guess = f", did you mean '{near[0]}'?" if near else ":"
    raise GANError(f"There is no class '{label}'{guess} there are {', '.join(names)}.")
