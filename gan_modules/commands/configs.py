"""``gan-modules configs``: the configurations that are shipped, which ``--config`` takes by name."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

from gan_modules.commands import nearest
from gan_modules.errors import GANError

FOLDER = Path(str(files("gan_modules"))) / "configs"
DEFAULTS = FOLDER / "defaults.yaml"


def configs() -> None:
    """List the configurations by name: what each trains, how long it takes, how it then scores."""
    for name, path in named_configs().items():
        what, _, figures = (line.removeprefix("# ") for line in path.read_text(encoding="utf-8").splitlines()[:3])
        minutes, _, score = figures.partition("; ")
        print(f"{name}\n    {what}\n    {minutes}: {score}")


def named_configs() -> dict[str, Path]:
    """Return the files of the configurations by name, those to lay others over (``presets``) last."""
    paths = [*sorted(FOLDER.glob("*.yaml")), *sorted(FOLDER.glob("presets/*.yaml"))]
    return {path.stem: path for path in paths if path != DEFAULTS}


def locate(config: str) -> Path:
    """Return the file that ``--config`` means: a path, or the name of a configuration that is shipped.

    Raises:
        GANError: If there is neither.
    """
    if Path(config).is_file():
        return Path(config)
    named = named_configs()
    if config in named:
        return named[config]
    if Path(config).suffix:
        raise GANError(f"--config: File does not exist: {config}")
    near = nearest(config, named)
    raise GANError(f"--config: there is no file and no configuration '{config}'{near or ';'} see gan-modules configs.")


def run_name(words: Sequence[str]) -> str | None:
    """Return the name of the first configuration among the words, `None` if there is none."""
    for previous, word in pairwise(["", *words]):
        option, _, value = word.partition("=")
        if previous in ("--config", "-c") or (option in ("--config", "-c") and value):
            return Path(value or word).stem
    return None
