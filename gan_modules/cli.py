"""The command line: Lightning's ``fit validate test predict``, and those of `gan_modules.commands`.

What needs no model (``--help``, ``--version``, a mistyped command) is answered without waiting for Lightning.
"""

from __future__ import annotations

import re
import sys
from importlib.util import find_spec
from pathlib import Path

import gan_modules
from gan_modules.commands import COMMANDS, TRAINING, nearest
from gan_modules.neighbours import hidden_data

HELP = """\
usage: gan-modules COMMAND [arguments]

Train GANs, each from one readable file, and use what they have learned.

commands:
{commands}

models:  {models}
data:    {data}

examples:
  gan-modules fit --config dcgan_digits
  gan-modules fit --model DCGAN --data ImageFolderDataModule --data.folder my_photos --trainer.max_steps 20000
  gan-modules fit --config run/config.yaml --ckpt_path run/checkpoints/last.ckpt      (goes on with an interrupted run)
  gan-modules fit --model mine.LSGAN --data DigitsDataModule      (a class in mine.py, in the working directory)
  gan-modules sample --ckpt_path run/checkpoints/last.ckpt --n 64 --out grid.png
  gan-modules score --ckpt_path run/checkpoints/last.ckpt --metrics fid kid prdc --n 10000 --seeds 0-2
  gan-modules interpolate --ckpt_path run/checkpoints/last.ckpt --seeds 0-7 --out movie.gif

Each command explains its arguments: gan-modules fit --help. Those of one class: gan-modules fit --model.help DCGAN.
"""


def main() -> None:
    """Run the command in `sys.argv`; a mistake of the user's ends in one sentence and status 2."""
    command, words = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("--help", [])
    if command in ("-h", "--help"):
        print(_help(), end="")
    elif command == "--version":
        print(f"gan-modules {gan_modules.__version__}")
    elif command in TRAINING | COMMANDS:
        if (hidden := hidden_data()) is not None:
            sys.stderr.write(f"error: {hidden}\n")
            sys.exit(2)
        from gan_modules.commands.running import run

        run(command, words)
    else:
        near = nearest(command, [*TRAINING, *COMMANDS])
        sys.stderr.write(f"error: There is no command '{command}'{near}; see gan-modules --help.\n")
        sys.exit(2)


def _help() -> str:
    commands = "\n".join(f"  {name:<12} {what}" for name, what in (TRAINING | COMMANDS).items())
    models, data = _public_names("gan_modules", r"models\."), _public_names("datamodules", r"(?!base\b)")
    return HELP.format(commands=commands, models=models, data=data)


def _public_names(package: str, where: str) -> str:
    """Return the classes that a package's list of names takes from its modules called `where`, without importing it."""
    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    init = Path(spec.origin)
    stub = init.with_suffix(".pyi")
    names = (stub if stub.is_file() else init).read_text(encoding="utf-8")
    return " ".join(sorted(re.findall(rf"^from \.{where}\w+ import (\w+)", names, re.MULTILINE)))
