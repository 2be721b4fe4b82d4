"""What the words of a command and the configurations among them name, looked up before they are parsed.

The parser below knows names too, but says so in texts of many lines that differ from release to release.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch import LightningDataModule
from lightning.pytorch.cli import LightningArgumentParser

import datamodules
from gan_modules.commands import nearest
from gan_modules.commands.configs import locate
from gan_modules.commands.parser import class_arguments
from gan_modules.engine.checkpoint import import_class
from gan_modules.engine.game import GAN
from gan_modules.errors import GANError

for _name in datamodules.__all__:
    getattr(datamodules, _name)  # they are loaded when first used, and found by name once they are
BASES: dict[str, type] = {"model": GAN, "data": LightningDataModule}
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
            kind = key.removesuffix(".class_path")
            if kind in BASES and isinstance(value, str):
                classes[kind] = import_class(value, BASES[kind], kind)
        for key, _ in group:
            kind, _, argument = key.partition(".")
            if kind not in BASES:
                _check_option(".".join(key.removesuffix("+").split(".")[:2]), known)
            elif kind in classes and argument:
                argument = argument.removeprefix("init_args.").partition(".")[0]
                _check_argument(argument.removesuffix("+"), classes[kind], kind)


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
