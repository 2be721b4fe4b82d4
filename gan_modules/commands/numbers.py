"""Lists of numbers as one writes them in a shell."""

from __future__ import annotations

import re

from gan_modules.engine.seeds import TORCH_SEEDS
from gan_modules.errors import GANError

Numbers = list[int] | str  # a list, or words such as 0-35 or 1,5,8-11
MOST = 10**6  # numbers of a list


def parse_numbers(argument: str, given: Numbers, below: int = TORCH_SEEDS) -> list[int]:
    """The numbers of ``1,5,8-11``, in their order, both ends of a range included.

    Raises:
        GANError: If it is something else, no number, one that is not `below`, or more than a million; `argument` is
            what it was passed as.

    >>> parse_numbers("seeds", "1,5,8-11")
    [1, 5, 8, 9, 10, 11]
    """
    parts = list(map(str, given)) if isinstance(given, list) else given.split(",")
    numbers: list[int] = []
    for part in parts or [""]:
        match = re.fullmatch(r"\s*(-?\d{1,99})(?:-(\d{1,99}))?\s*", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
        if last < first:
            raise GANError(f"--{argument} {part or given!r} is no list of numbers: write it as 0-35 or 1,5,8-11.")
        if first < 0 or last >= below:
            raise GANError(f"--{argument} {part!r} is out of range: numbers go from 0 to {below - 1}.")
        if len(numbers) + last - first >= MOST:
            raise GANError(f"--{argument} names more than {MOST:,} numbers: name fewer.")
        numbers += range(first, last + 1)
    return numbers
