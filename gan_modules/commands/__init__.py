"""The commands besides Lightning's: each a function, whose arguments and docstring are the command's."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import get_args, get_origin, get_type_hints

from gan_modules.commands.interpolate import interpolate
from gan_modules.commands.mix import mix
from gan_modules.commands.numbers import Numbers
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
    """Lists that are given word by word as the parser reads them.

    ``--metrics fid kid`` becomes ``--metrics=["fid", "kid"]``, and of numbers ``--seeds 0 1 5-7``, ``--seeds=0,1,5-7``.
    """
    hints = {f"--{name}": hint for name, hint in get_type_hints(command).items()}
    numbers = {name for name, hint in hints.items() if {*get_args(Numbers)} <= {*get_args(hint)}}
    lists = {name for name, hint in hints.items() if get_origin(hint) is list}
    gathered, left = [], list(words)
    while left:
        word = left.pop(0)
        if word in numbers | lists and left and not left[0].startswith("["):
            items = list(takewhile(lambda item: not item.startswith("--"), left))
            del left[: len(items)]
            word += f"={','.join(items)}" if word in numbers else f"=[{', '.join(map(json.dumps, items))}]"
        gathered.append(word)
    return gathered
