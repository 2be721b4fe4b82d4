"""The command line: Lightning's ``fit validate test predict``, and those of `gan_modules.commands`."""

from __future__ import annotations

import difflib
import inspect
import os
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from jsonargparse import auto_cli
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from torch import Tensor

import datamodules
import gan_modules
from datamodules import DataError, GANDataModule
from gan_modules.commands import COMMANDS, gather_lists
from gan_modules.engine.allocator import keep_freed_memory
from gan_modules.engine.checkpoint import KEY, read_checkpoint
from gan_modules.engine.game import GAN
from gan_modules.engine.players import GameOptions
from gan_modules.errors import GANError
from gan_modules.families.translation import TranslationGAN
from gan_modules.visuals.pictures import as_image, to_uint8

MODELS = {name: cls for name in gan_modules.__all__ if inspect.isclass(cls := getattr(gan_modules, name))}
DATA = {name: cls for name in datamodules.__all__ if inspect.isclass(cls := getattr(datamodules, name))}
CHOICES = {
    "model": [name for name, cls in MODELS.items() if issubclass(cls, GAN) and not inspect.isabstract(cls)],
    "data": [name for name, cls in DATA.items() if issubclass(cls, GANDataModule) and not inspect.isabstract(cls)],
}
SUPPLIED = ("image_shape", "target_shape", "num_classes")  # what the data tells the model
HELP = f"""\
usage: gan-modules COMMAND [arguments]

Train GANs, each from one readable file, and use what they have learned.

commands:
  fit          train a model on data
  validate     score a checkpoint on the validation data
  test         score a checkpoint on the test data
  predict      generate as many images as the test data has, to the run's folder
  sample       generate images from a checkpoint: a grid, or a folder of files
  score        FID and its kin, of checkpoints or folders of images, as a table and as records
  interpolate  move from image to image: a GIF or MP4
  mix          give images the styles of others, by a StyleGAN or StyleGAN2 checkpoint
  project      find the styles that make a given image, by the same
  translate    turn a folder of images into images of the other side, by a Pix2Pix or CycleGAN checkpoint

models:  {" ".join(CHOICES["model"])}
data:    {" ".join(CHOICES["data"])}

examples:
  gan-modules fit --config examples/configs/dcgan_digits.yaml
  gan-modules fit --model DCGAN --data ImageFolderDataModule --data.folder my_photos --trainer.max_steps 20000
  gan-modules fit --config run/config.yaml --ckpt_path run/checkpoints/last.ckpt      (goes on with an interrupted run)
  gan-modules sample --ckpt_path run/checkpoints/last.ckpt --n 64 --out grid.png
  gan-modules score --ckpt_path run/checkpoints/last.ckpt --metrics fid kid prdc --n 10000 --seeds 0-2
  gan-modules interpolate --ckpt_path run/checkpoints/last.ckpt --seeds 0-7 --out movie.gif

Each command explains its arguments: gan-modules fit --help. Those of one class: gan-modules fit --model.help DCGAN.
"""


class ArgumentParser(LightningArgumentParser):
    """A parser that wants whole words, and answers a mistake with one sentence."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # the beginning of an option would pass for it, even where only a mistyped one begins so
        super().__init__(*args, allow_abbrev=False, **kwargs)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Say what is wrong and leave with status 2."""
        if not self.exit_on_error:  # an inner parser, whose caller wraps the message
            super().error(message, ex)
        sys.stderr.write(f"error: {_sentence(message, getattr(ex, 'subcommand_parser', None) or self)}\n")
        sys.exit(2)


class PredictionWriter(BasePredictionWriter):
    """Each image that ``predict`` makes, as a PNG file in the run's folder."""

    def write_on_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        prediction: Tensor,
        batch_indices: Sequence[int] | None,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Write the images of one batch; the file's name has the process, the batch and the place in it."""
        folder = Path(trainer.log_dir or trainer.default_root_dir) / "predictions"
        folder.mkdir(parents=True, exist_ok=True)
        for index, image in enumerate(to_uint8(prediction)):
            as_image(image).save(folder / f"{trainer.global_rank}_{batch_idx:05d}_{index:03d}.png")


class CommandLine(LightningCLI):
    """Lightning's command line, in which the data tells the model its `image_shape` and what else it knows."""

    def __init__(self) -> None:
        super().__init__(
            GAN,
            GANDataModule,
            parser_class=ArgumentParser,
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            save_config_kwargs={"overwrite": True},
        )

    def _set_seed(self) -> None:
        """Lightning's own, whose sentence names the range but not the argument."""
        try:
            super()._set_seed()
        except ValueError as error:
            raise GANError(f"--seed_everything {error}.") from error

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Link what the data knows to the model that needs it."""
        for name in SUPPLIED:
            parser.link_arguments(f"data.{name}", f"model.init_args.{name}", apply_on="instantiate")

    def _parse_ckpt_path(self) -> None:
        """Look at the checkpoint before anything is built; the configuration stays what the user said."""
        config = self.config[self.config.subcommand]
        module, _, asked = config.model.class_path.rpartition(".")
        parameters = inspect.signature(getattr(sys.modules[module], asked)).parameters
        for name in parameters.keys() & set(SUPPLIED):
            if not _equal(config.model.init_args[name], parameters[name].default):
                raise GANError(f"The data supplies {name}: leave --model.{name} out, and choose the data's instead.")
        path = config.get("ckpt_path")
        if path is None and self.config.subcommand != "fit":
            sys.stderr.write(f"No --ckpt_path is given: {self.config.subcommand} looks at untrained weights.\n")
        if path is None or path in ("last", "best", "hpc"):
            return
        made_by = read_checkpoint(path)[KEY]["class"].rpartition(".")[2]
        if made_by != asked:
            raise GANError(f"'{path}' holds a {made_by}, not a {asked}: pass --model {made_by}, or another checkpoint.")

    def predict(self, **arguments: Any) -> None:
        """Write the images that the model makes of the test data's batches, instead of gathering them in memory."""
        self.trainer.callbacks.append(PredictionWriter(write_interval="batch"))  # type: ignore[attr-defined]
        self.trainer.predict(**arguments | {"return_predictions": False})

    def after_fit(self) -> None:
        """Say what the run has left, and where."""
        trainer = self.trainer
        folder = trainer.log_dir or trainer.default_root_dir  # which the first process tells the others
        if not trainer.is_global_zero:
            return
        scores = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
        print(f"\nPlayed {trainer.global_step} rounds; everything is in {folder}")
        for name, value in scores.items():
            print(f"  {name:<12} {value:.4g}")
        if isinstance(saver := trainer.checkpoint_callback, ModelCheckpoint):
            saved = saver.last_model_path or saver.best_model_path
            print(f"  {'checkpoint':<12} {saved}")
            translates = isinstance(self.model, TranslationGAN)
            use = "translate --input FOLDER --output FOLDER" if translates else "sample --n 64 --out grid.png"
            print(f"\ngan-modules {use} --ckpt_path {saved}")


def main() -> None:
    """Run the command in `sys.argv`; a mistake of the user's ends in one sentence and status 2."""
    command = sys.argv[1] if len(sys.argv) > 1 else "--help"
    keep_freed_memory()
    try:
        if command in ("-h", "--help"):
            print(HELP, end="")
        elif command == "--version":
            print(f"gan-modules {gan_modules.__version__}")
        elif command in COMMANDS:
            auto_cli(
                COMMANDS[command],
                args=gather_lists(
                    COMMANDS[command],
                    [re.sub("^--class_idx(?=$|=)", "--labels", word) for word in sys.argv[2:]],  # NVIDIA's name for it
                ),
                as_positional=False,
                prog=f"gan-modules {command}",
                parser_class=ArgumentParser,
            )
        elif command in CommandLine.subcommands():
            CommandLine()
        else:
            commands = [*CommandLine.subcommands(), *COMMANDS]
            raise GANError(f"There is no command '{command}'{_near(command, commands)}; see gan-modules --help.")
    except (ValueError, OSError, MisconfigurationException) as error:
        # the parser wraps what a constructor says
        said = next(filter(_is_users, _causes(error)), None)
        if os.environ.get("GAN_MODULES_TRACEBACK") or said is None:
            raise
        # an error from a loader's process arrives with that process's traceback before its sentence
        message = str(said).strip().rpartition("DataError: ")[2]
        sys.stderr.write(f"error: {message}\n")
        sys.exit(2)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _is_users(error: BaseException) -> bool:
    """Whether an error is a sentence to the user rather than a defect: our own code, the disk or Lightning said it."""
    if isinstance(error, GANError | DataError | OSError | MisconfigurationException):
        return True
    raised_in = Path(traceback.extract_tb(error.__traceback__)[-1].filename).resolve()
    homes = [Path(package.__file__).resolve().parent for package in (gan_modules, datamodules) if package.__file__]
    return any(raised_in.is_relative_to(home) for home in homes)


def _sentence(message: str, parser: LightningArgumentParser) -> str:
    """What a message of the parser means, in one sentence with the nearest right word."""
    key = next(iter(re.findall(r"Parser key \"(\w+)", message)), "")
    if match := re.search(r"class_path '[\w.]*?(\w+)':\s+Option '([\w.]+)' is not accepted", message):
        name, option = match.groups()
        cls = MODELS.get(name) or DATA.get(name)
        known = [*inspect.signature(cls).parameters, *GameOptions.__annotations__] if cls else []
        return f"{name} takes no argument '{option}'{_near(option, known)}; see gan-modules fit --{key}.help {name}."
    named = re.search(r"(?:dot import path string:|Import path(?! does)|Given value:) (\S+)", message)
    if key in CHOICES and named and re.search(r"dot import path|Import path|instantiatable class", message):
        name = named[1]
        return f"There is no {key} class '{name}'{_near(name, CHOICES[key])} (there are {', '.join(CHOICES[key])})."
    if match := re.search(r"unrecognized arguments: (--\S+)|does not accept option '([\w.]+)'", message):
        option = match[1] or f"--{match[2]}"
        known = re.findall(r"--[\w.]+", parser.format_help())
        return f"There is no argument {option.partition('=')[0]}{_near(option.partition('=')[0], known) or '.'}"
    noise = r"Does not validate|Subtypes:|Errors:|- Expected a <class 'NoneType'>|Given value|Problem with given class"
    lines = [line.strip(" -") for line in message.splitlines() if line.strip() and not re.search(noise, line)]
    keys = ".".join(re.findall(r"Parser key \"([\w.]+)\"", message))
    said = re.sub(r"Parser key \"[\w.]+\":\s*", "", " ".join(lines))
    return f"--{keys}: {said}" if keys else said


def _equal(given: Any, default: Any) -> bool:
    listed = isinstance(given, list | tuple) and isinstance(default, list | tuple)
    return list(given) == list(default) if listed else bool(given == default)


def _near(word: str, known: list[str]) -> str:
    match = difflib.get_close_matches(word, known, n=1)
    return f", did you mean '{match[0]}'?" if match else ""
