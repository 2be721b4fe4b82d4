"""The parser of all commands: it wants whole words, and answers a mistake with one sentence."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import docstring_parser
from jsonargparse import get_loader, set_loader
from lightning.pytorch.cli import LightningArgumentParser

from gan_modules.engine.game import GAN

LOADER = "yaml"  # jsonargparse's name for what reads the values of arguments
TYPES = {
    "<class 'int'>": "a whole number",
    "<class 'float'>": "a number",
    "<class 'bool'>": "true or false",
    "<class 'str'>": "a word",
    "<class 'list'>": "a list such as 1,2",
    "<class 'tuple'>": "a list such as 1,2",
}


def lists_by_commas(load: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return a loader of values that takes ``16,24`` as the list ``[16, 24]``.

    The parser tries the words as they stand where an argument takes no such list, so paths may have commas.
    """

    def load_value(value: str) -> Any:
        loaded = load(value)
        plain = isinstance(loaded, str) and loaded == value and "\n" not in value
        parts = value.split(",") if plain else []
        return [load(part) for part in parts] if len(parts) > 1 and all(map(str.strip, parts)) else loaded

    return load_value


set_loader(LOADER, lists_by_commas(get_loader(LOADER)))


class ArgumentParser(LightningArgumentParser):
    """A parser that says what is wrong in one sentence and leaves with status 2."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # the beginning of an option would pass for it, even where only a mistyped one begins so
        super().__init__(*args, allow_abbrev=False, **kwargs)

    def add_class_arguments(self, theclass: type, nested_key: str | None = None, **kwargs: Any) -> list[str]:
        """Add a class's arguments; none of a model's is required, since the data may supply it."""
        if inspect.isclass(theclass) and issubclass(theclass, GAN):  # jsonargparse's own word for what another supplies
            kwargs["linked_targets"] = required_arguments(theclass)
        names: list[str] = super().add_class_arguments(theclass, nested_key, **kwargs)
        if inspect.isclass(theclass):
            self._explain_inherited(theclass, names)
        return names

    def _explain_inherited(self, theclass: type, names: Sequence[str]) -> None:
        """Give the arguments that a class hands on as ``**options`` the text and the default of the base that has them.

        jsonargparse knows their types alone.
        """
        inherited = inherited_arguments(theclass)
        for action in self._actions:
            name = action.dest.rpartition(".")[2]
            if action.dest in names and not action.help and name in inherited:
                text, default = inherited[name]
                action.help = f"{text} (default: {default})".replace("%", "%%")

    def format_help(self, *args: Any, **kwargs: Any) -> str:
        """Return the help, without the list of all of torch's modules wherever an argument is a network."""
        text: str = super().format_help(*args, **kwargs)
        return re.sub(r"(type:[^()]*\bModule\b[^()]*?(?:default:\s+null)?),\s+known\s+subclasses:[^)]*\)", r"\1)", text)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Say what is wrong and leave with status 2."""
        if not self.exit_on_error:  # an inner parser, whose caller wraps the message
            super().error(message, ex)
        sys.stderr.write(f"error: {_sentence(message)}\n")
        sys.exit(2)


def _sentence(message: str) -> str:
    """Return the parser's message about a value in one sentence, beginning with the argument.

    jsonargparse gives no error of its own for a value that has not the argument's type: it wraps the text of each
    parser in that of the parser above. These expressions take the wrapping off; names are checked before parsing.
    """
    keys = ".".join(re.findall(r"Parser key \"([\w.]+)\"", message))
    if left := re.fullmatch(r"[Uu]nrecognized arguments: ([^-].*)", message.strip()):
        return (
            f"'{left[1]}' belongs to no argument: write a list with commas, as 16,24, and a name with spaces in quotes."
        )
    if plain := _plain_types(message):
        return f"--{keys} {plain}"
    noise = r"Does not validate|Subtypes:|Errors:|- Expected a <class 'NoneType'>|Given value|Problem with given class"
    lines = [line.strip(" -") for line in message.splitlines() if line.strip() and not re.search(noise, line)]
    lines = list(dict.fromkeys(lines))  # each type of several that a value may have says the same
    if missing := re.fullmatch(r"(.* required: )([\w., ]+)", " ".join(lines)):
        names = [name.strip().removeprefix("fit.") for name in missing[2].split(",")]
        return f"{missing[1]}{', '.join(f'--{name}' for name in names)}"
    said = re.sub(r"Parser key \"[\w.]+\":\s*", "", " ".join(lines))
    if strange := re.search(r"Expected a dot import path string: (\S+)", said):
        said = f"'{strange[1]}' is no class that fits here: name it with its module, as in mine.Network"
    return f"--{keys}: {said}" if keys else said


def _plain_types(message: str) -> str:
    """Return what an argument takes and what it was given; nothing where the parser has more to say than types."""
    expected = re.findall(r"Expected an? (.+?)(?:\. Got value: .*)?$", message, re.MULTILINE)
    given = re.search(r"(?:Got|Given) value: (.*)", message)
    types = list(dict.fromkeys(map(_plain_type, filter(lambda found: found != "<class 'NoneType'>", expected))))
    if not types or "" in types or given is None or "NestedArg" in given[1]:
        return ""
    return f"takes {' or '.join(types)}, not '{given[1]}'."


def _plain_type(expected: str) -> str:
    if choices := re.fullmatch(r"typing\.Literal\[(.*)\]", expected):
        return f"one of {choices[1]}"
    if length := re.fullmatch(r"tuple with (\d+) elements", expected):
        return f"a list of {length[1]}"
    return TYPES.get(expected, "")


def inherited_arguments(cls: type) -> dict[str, tuple[str, Any]]:
    """Return the text and the default of each argument that the classes before `cls` explain in their docstrings."""
    found: dict[str, tuple[str, Any]] = {}
    for base in reversed(inspect.getmro(cls)[1:]):
        if "__init__" in vars(base) and base.__doc__:
            texts = {
                each.arg_name: each.description
                for each in docstring_parser.parse(inspect.cleandoc(base.__doc__)).params
            }
            for name, parameter in inspect.signature(vars(base)["__init__"]).parameters.items():
                if (text := texts.get(name)) is not None:
                    default = None if parameter.default is parameter.empty else parameter.default
                    found[name] = (" ".join(text.split()), "null" if default is None else default)
    return found


def class_arguments(cls: type) -> dict[str, Any]:
    """Return the arguments of a class with their defaults, those that it hands on to its bases too."""
    parser = ArgumentParser(exit_on_error=False)
    names = parser.add_class_arguments(cls, fail_untyped=False)
    defaults = parser.get_defaults()
    return {name: defaults.get(name) for name in names}


def required_arguments(cls: type) -> set[str]:
    """Return the arguments of a class, and of its bases where it hands them on, that have no default."""
    required: dict[str, bool] = {}
    for base in reversed(inspect.getmro(cls)):
        if "__init__" in vars(base):
            for name, parameter in inspect.signature(vars(base)["__init__"]).parameters.items():
                if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                    required[name] = parameter.default is parameter.empty
    return {name for name, needed in required.items() if needed} - {"self"}
