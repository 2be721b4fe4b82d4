"""Lists of numbers as one writes them in a shell."""

from __future__ import annotations

import re

from gan_modules.base import GANError

Numbers = list[int] | str  # a list, or words such as 0-35 or 1,5,8-11


def parse_numbers(argument: str, given: Numbers) -> list[int]:
    """The numbers of ``1,5,8-11``, in their order, both ends of a range included.

    Raises:
        GANError: If it is something else, or no number; `argument` is what it was passed as.

    >>> parse_numbers("seeds", "1,5,8-11")
    [1, 5, 8, 9, 10, 11]
    """
    parts = list(map(str, given)) if isinstance(given, list) else given.split(",")
    numbers: list[int] = []
    for part in parts:
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        if not match or int(match[2] or match[1]) < int(match[1]):
            raise GANError(f"--{argument} {part or given!r} is no list of numbers: write it as 0-35 or 1,5,8-11.")
        numbers += range(int(match[1]), int(match[2] or match[1]) + 1)
    return numbers
