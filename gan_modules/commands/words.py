"""What the words of a command and the configurations among them name, looked up before they are parsed.

The parser below knows names too, but says so in texts of many lines that differ from release to release.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from inspect import isclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch import Callback, LightningDataModule
from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.loggers import Logger

import datamodules
from gan_modules.commands import nearest
from gan_modules.commands.configs import locate
from gan_modules.commands.parser import class_arguments
from gan_modules.engine.checkpoint import import_class, import_own
from gan_modules.engine.game import GAN
from gan_modules.errors import GANError

for _name in datamodules.__all__:
    getattr(datamodules, _name)  # they are loaded when first used, and found by name once they are
BASES: dict[str, type] = {"model": GAN, "data": LightningDataModule}
LISTED: dict[str, type] = {"logger": Logger, "callbacks": Callback}  # arguments of the trainer, one or several each
Setting = tuple[str, Any]


def name_configs(words: Sequence[str]) -> list[str]:
    """Return the words with the file in place of each configuration that ``--config`` names."""
    named = []
    for previous, word in pairwise(["", *words]):
        option, equals, value = word.partition("=")
        if previous in ("--config", "-c"):
            word = str(locate(word))
        elif option in ("--config", "-c") and equals:
            word = f"{option}={locate(value)}"
        named.append(word)
    return named


def check_names(words: Sequence[str], parser: LightningArgumentParser) -> None:
    """See that all options, classes and arguments of classes exist, in the words and the configurations they name.

    The classes that they name are imported: they are the user's words.

    Raises:
        GANError: If one does not; it names the nearest one.
    """
    known = _options(parser)
    classes: dict[str, type] = {}
    settings = list(_settings(words))
    configs = [_read(Path(value)) for key, value in settings if key in ("config", "c")]
    for group in [*map(list, map(_flatten, configs)), settings]:
        for key, value in group:
            kind = key.removesuffix(".class_path").removesuffix(".help")
            if kind in BASES and isinstance(value, str):
                classes[kind] = import_class(value, BASES[kind], kind)
        for key, _ in group:
            kind, _, argument = key.partition(".")
            if kind not in BASES:
                _check_option(".".join(key.removesuffix("+").split(".")[:2]), known)
            elif kind in classes and argument:
                argument = argument.removeprefix("init_args.").partition(".")[0]
                _check_argument(argument.removesuffix("+"), classes[kind], kind)
        _check_listed(group)


def _check_listed(group: Sequence[Setting]) -> None:
    """See that the trainer's loggers and callbacks exist, and take the arguments that are given to the newest."""
    newest: dict[str, type | None] = {}
    for key, value in group:
        trainer, _, rest = key.partition(".")
        kind, _, argument = rest.partition(".")
        kind = kind.removesuffix("+")
        if trainer != "trainer" or kind not in LISTED:
            continue
        if argument in ("", "class_path", "help"):
            for name, arguments in _named(value):
                newest[kind] = cls = _find_listed(name, kind)
                for each in arguments if cls is not None else ():
                    assert cls is not None
                    _check_argument(each, cls, f"trainer.{kind}")
        elif (cls := newest.get(kind)) is not None:
            _check_argument(argument.removeprefix("init_args.").partition(".")[0], cls, f"trainer.{kind}")


def _named(value: Any) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield the names of classes in a value of the words or of a configuration, each with the arguments beside it."""
    if isinstance(value, str):
        try:
            value = yaml.safe_load(value) if value[:1] in ("[", "{") else value
        except yaml.YAMLError:  # which the parser explains
            return
    if isinstance(value, Mapping) and isinstance(value.get("class_path"), str):
        yield value["class_path"], list(value.get("init_args") or {})
    elif isinstance(value, list):
        for item in value:
            yield from _named(item)
    elif isinstance(value, str) and "," in value:
        yield from _named(value.split(","))
    elif isinstance(value, str) and value.lower() not in ("true", "false", "null") and not Path(value).is_file():
        yield value, []


def _find_listed(name: str, kind: str) -> type | None:
    """Return the class of a logger or callback; `None` for a function that makes one."""
    base = LISTED[kind]
    module, _, short = name.rpartition(".")
    if module:
        found = getattr(import_own(module, f"--trainer.{kind} {name}"), short, None)
        if found is None:
            raise GANError(f"--trainer.{kind} {name}: '{module}' has no '{short}'.")
        return found if isclass(found) else None
    known = {cls.__name__: cls for cls in reversed([*_subclasses(base)]) if not cls.__name__.startswith("_")}
    if name not in known:
        ours = sorted(short for short, cls in known.items() if cls.__module__.startswith(f"gan_modules.{kind}."))
        among = f" (there are {', '.join(ours)}, and Lightning's)" if ours else ""
        raise GANError(f"There is no {base.__name__.lower()} class '{name}'{nearest(name, known)}{among or '.'}")
    return known[name]


def _subclasses(base: type) -> Iterator[type]:
    subclasses: list[type] = base.__subclasses__()
    for cls in subclasses:
        yield cls
        yield from _subclasses(cls)


def _settings(words: Sequence[str]) -> Iterator[Setting]:
    for word, following in pairwise([*words, ""]):
        if word.startswith("-") and not re.match(r"-\d", word):
            option, equals, value = word.partition("=")
            yield option.lstrip("-"), value if equals else following


def _read(config: Path) -> Mapping[str, Any]:
    """Return what a configuration holds; nothing where only the parser can say what is wrong with it."""
    try:
        held = yaml.safe_load(config.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return held if isinstance(held, Mapping) else {}


def _flatten(config: Mapping[str, Any]) -> Iterator[Setting]:
    for key, value in config.items():
        if key in BASES and isinstance(value, Mapping):
            yield f"{key}.class_path", value.get("class_path")
            yield from ((f"{key}.{name}", None) for name in value.get("init_args") or {})
        elif key == "trainer" and isinstance(value, Mapping):
            yield from ((f"trainer.{name}", held) for name, held in value.items())
        else:
            yield key, value


def _options(parser: LightningArgumentParser) -> list[str]:
    return re.findall(r"(?<![\w-])--?([A-Za-z][\w.]*)", parser.format_help())


def _check_option(name: str, known: list[str]) -> None:
    if name not in known:
        raise GANError(f"There is no argument --{name}{nearest(f'--{name}', [f'--{other}' for other in known]) or '.'}")


def _check_argument(name: str, cls: type, kind: str) -> None:
    if name in ("class_path", "init_args", "dict_kwargs", "help"):
        return
    known = class_arguments(cls)
    if name not in known:
        raise GANError(
            f"{cls.__name__} takes no argument '{name}'{nearest(name, known)}; see gan-modules fit --{kind}.help "
            f"{cls.__name__}."
        )
