"""How a command is run: its words read, its own classes imported, a mistake answered in one sentence."""

from __future__ import annotations

import inspect
import io
import json
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from itertools import takewhile
from pathlib import Path
from types import ModuleType
from typing import get_args, get_origin, get_type_hints

import lightning
from jsonargparse import ActionConfigFile  # type: ignore[attr-defined]  # it is public, but not listed
from lightning.fabric.utilities.exceptions import MisconfigurationException

import datamodules
import gan_modules
from datamodules import DataError
from gan_modules.commands import TRAINING
from gan_modules.commands.parser import ArgumentParser
from gan_modules.commands.training import train
from gan_modules.commands.words import check_names
from gan_modules.engine.allocator import keep_freed_memory
from gan_modules.engine.checkpoint import import_own
from gan_modules.engine.quiet import hush
from gan_modules.errors import GANError

LOGGERS = {  # libraries whose errors are about the user's account or server, with the remedy
    "wandb": "log in by `wandb login`, keep the run on this machine by --trainer.logger.offline=true",
    "mlflow": "see that the server of --trainer.logger.tracking_uri answers",
    "comet_ml": "see that COMET_API_KEY holds your key",
    "neptune": "see that NEPTUNE_API_TOKEN holds your key",
}


def run(command: str, words: Sequence[str]) -> None:
    """Run a command with its words; a mistake of the user's ends in one sentence and status 2."""
    keep_freed_memory()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names on the disk need not be text
    hush()
    if os.getcwd() not in sys.path:  # the user's own classes; last, so that they hide no installed package
        sys.path.append(os.getcwd())
    try:
        if command in TRAINING:
            train(command, words)
        else:
            _call(command, words)
    except Exception as error:
        # the parser wraps what a constructor says
        said = next(filter(_is_users, _causes(error)), None)
        if os.environ.get("GAN_MODULES_TRACEBACK") or said is None:
            raise
        sys.stderr.write(f"error: {_sentence(said)}\n")
        sys.exit(2)


def _call(name: str, words: Sequence[str]) -> None:
    """Call the function that a command is, with what the words say."""
    command: Callable[..., None] = getattr(import_module(f"gan_modules.commands.{name}"), name)
    parser = ArgumentParser(prog=f"gan-modules {name}", description=(command.__doc__ or "").partition("\n")[0])
    parser.add_argument("--config", action=ActionConfigFile, help="File of arguments, in YAML.")
    parser.add_function_arguments(command, as_positional=False)
    if "ckpt_path" in inspect.signature(command).parameters:
        parser.add_argument("--model", type=str | None, help="Your own class of the checkpoint, such as mine.LSGAN.")
        parser.add_argument("--import", type=str | None, help="Module of your own networks in it, such as mine.")
    given = gather_lists(command, [re.sub("^--class_idx(?=$|=)", "--labels", word) for word in words])  # NVIDIA's name
    check_names(given, parser)  # which imports the class that --model names
    arguments = parser.instantiate_classes(parser.parse_args(given)).as_dict()
    arguments.pop("config", None)
    arguments.pop("model", None)
    if (module := arguments.pop("import", None)) is not None:
        import_own(module, f"--import {module}")
    command(**arguments)


def gather_lists(command: Callable[..., None], words: Sequence[str]) -> list[str]:
    """Return lists that are given word by word, or by commas, as the parser reads them.

    ``--metrics fid kid`` and ``--metrics fid,kid`` become ``--metrics=["fid", "kid"]``; where words may have commas of
    their own, as in ``list[Path]``, each stays whole. Where a single value will do as well, several words become one
    with commas: ``--seeds 0 1 5-7``, ``--seeds=0,1,5-7``.
    """
    hints = {f"--{name}": hint for name, hint in get_type_hints(command).items()}
    lists = {name for name, hint in hints.items() if get_origin(hint) is list}
    either = {name for name, hint in hints.items() if any(get_origin(part) is list for part in get_args(hint))} - lists
    gathered, left = [], list(words)
    while left:
        name, equals, value = left.pop(0).partition("=")
        if name in lists | either and not (value or "".join(left[:1])).startswith("["):
            items = [value] if equals else list(takewhile(lambda item: not item.startswith("--"), left))
            del left[: 0 if equals else len(items)]
            if name in lists and hints[name] == list[str]:
                items = [part for item in items for part in item.split(",")]
            equals, value = "=", f"[{', '.join(map(json.dumps, items))}]" if name in lists else ",".join(items)
        gathered.append(f"{name}{equals}{value}")
    return gathered


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _is_users(error: BaseException) -> bool:
    """Return whether our code, the disk, Lightning or a logger has told the user what is wrong; all else is a defect.

    Lightning raises errors of Python's own classes, too, where it means the user; what it did not foresee is raised
    elsewhere, or by no ``raise``.
    """
    if isinstance(error, GANError | DataError | OSError | MisconfigurationException) or _library(error) in LOGGERS:
        return True
    place = traceback.extract_tb(error.__traceback__)[-1]
    if _is_in(place.filename, lightning):
        return (place.line or "").startswith("raise ")
    return isinstance(error, ValueError) and any(_is_in(place.filename, home) for home in (gan_modules, datamodules))


def _is_in(file: str, package: ModuleType) -> bool:
    return package.__file__ is not None and Path(file).resolve().is_relative_to(Path(package.__file__).resolve().parent)


def _library(error: BaseException) -> str:
    return type(error).__module__.partition(".")[0]


def _sentence(error: BaseException) -> str:
    """Return what an error says, in one line."""
    said = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)  # whose str is a repr
    # an error from a loader's process arrives with that process's traceback before its sentence
    message = " ".join(said.rpartition("DataError: ")[2].split())
    remedy = LOGGERS.get(_library(error))
    return message if remedy is None else f"{message.rstrip('.')}; {remedy}, or leave --trainer.logger out."
