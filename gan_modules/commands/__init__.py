"""The commands besides Lightning's: each a function, whose arguments and docstring are the command's."""

from __future__ import annotations

from collections.abc import Callable

from gan_modules.commands.interpolate import interpolate
from gan_modules.commands.mix import mix
from gan_modules.commands.project import project
from gan_modules.commands.sample import sample
from gan_modules.commands.translate import translate

COMMANDS: dict[str, Callable[..., None]] = {
    "sample": sample,
    "interpolate": interpolate,
    "mix": mix,
    "project": project,
    "translate": translate,
}
