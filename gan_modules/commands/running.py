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
from typing import get_args, get_origin, get_type_hints

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
from gan_modules.errors import GANError


def run(command: str, words: Sequence[str]) -> None:
    """Run a command with its words; a mistake of the user's ends in one sentence and status 2."""
    keep_freed_memory()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names on the disk need not be text
    if os.getcwd() not in sys.path:  # the user's own classes; last, so that they hide no installed package
        sys.path.append(os.getcwd())
    try:
        if command in TRAINING:
            train(command, words)
        else:
            _call(command, words)
    except (ValueError, OSError, MisconfigurationException) as error:
        # the parser wraps what a constructor says
        said = next(filter(_is_users, _causes(error)), None)
        if os.environ.get("GAN_MODULES_TRACEBACK") or said is None:
            raise
        # an error from a loader's process arrives with that process's traceback before its sentence
        message = str(said).strip().rpartition("DataError: ")[2]
        sys.stderr.write(f"error: {message}\n")
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
    """Return whether our code, the disk or Lightning has said to the user what is wrong; all else is a defect."""
    if isinstance(error, GANError | DataError | OSError | MisconfigurationException):
        return True
    raised_in = Path(traceback.extract_tb(error.__traceback__)[-1].filename).resolve()
    homes = [Path(package.__file__).resolve().parent for package in (gan_modules, datamodules) if package.__file__]
    return any(raised_in.is_relative_to(home) for home in homes)
