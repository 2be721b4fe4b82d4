"""The commands besides Lightning's: each a function, whose arguments and docstring are the command's."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import get_origin, get_type_hints

from gan_modules.commands.interpolate import interpolate
from gan_modules.commands.mix import mix
from gan_modules.commands.project import project
from gan_modules.commands.sample import sample
from gan_modules.commands.score import score
from gan_modules.commands.translate import translate

COMMANDS: dict[str, Callable[..., None]] = {
    "sample": sample,
    "score": score,
    "interpolate": interpolate,
    "mix": mix,
    "project": project,
    "translate": translate,
}


def gather_lists(command: Callable[..., None], words: Sequence[str]) -> list[str]:
    """Lists that are given word by word, ``--seeds 0 1 2``, as the parser reads them: ``--seeds=[0, 1, 2]``."""
    lists = {f"--{name}": hint for name, hint in get_type_hints(command).items() if get_origin(hint) is list}
    gathered, left = [], list(words)
    while left:
        word = left.pop(0)
        if word in lists and left and not left[0].startswith("["):
            items = list(takewhile(lambda item: not item.startswith("--"), left))
            del left[: len(items)]
            quoted = items if lists[word] == list[int] else map(json.dumps, items)
            word = f"{word}=[{', '.join(quoted)}]"
        gathered.append(word)
    return gathered
