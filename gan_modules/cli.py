"""The command line: Lightning's ``fit validate test predict``, and ``sample`` and ``translate`` from a checkpoint."""

from __future__ import annotations

import difflib
import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

import torch
from jsonargparse import auto_cli
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from PIL import Image
from torch import Tensor
from tqdm import tqdm

import datamodules
import gan_modules
from datamodules import DataError, ImageDataModule
from datamodules.image_files import SUFFIXES, list_images, pixels, read_image
from gan_modules.base import GAN, Direction, GameOptions, GANError, LatentGAN, TranslationGAN
from gan_modules.callbacks.pictures import as_image, image_grid, scatter, to_uint8
from gan_modules.engine.checkpoints import KEY, read_checkpoint

MODELS = {name: cls for name in gan_modules.__all__ if inspect.isclass(cls := getattr(gan_modules, name))}
DATA = {name: getattr(datamodules, name) for name in datamodules.__all__}
CHOICES = {
    "model": [name for name, cls in MODELS.items() if issubclass(cls, GAN) and not inspect.isabstract(cls)],
    "data": [name for name, cls in DATA.items() if issubclass(cls, ImageDataModule) and not inspect.isabstract(cls)],
}
SUPPLIED = ("image_shape", "target_shape", "num_classes")  # what the data tells the model
HELP = f"""\
usage: gan-modules COMMAND [arguments]

Train GANs, each from one readable file, and use what they have learned.

commands:
  fit        train a model on data
  validate   score a checkpoint on the validation data
  test       score a checkpoint on the test data
  predict    generate as many images as the test data has, to the run's folder
  sample     generate images from a checkpoint: a grid, or a folder of files
  translate  turn a folder of images into images of the other side, by a Pix2Pix or CycleGAN checkpoint

models:  {" ".join(CHOICES["model"])}
data:    {" ".join(CHOICES["data"])}

examples:
  gan-modules fit --config examples/configs/dcgan_digits.yaml
  gan-modules fit --model DCGAN --data ImageFolderDataModule --data.folder my_photos --trainer.max_steps 20000
  gan-modules fit --config run/config.yaml --ckpt_path run/checkpoints/last.ckpt      (goes on with an interrupted run)
  gan-modules sample --ckpt_path run/checkpoints/last.ckpt --n 64 --out grid.png

Each command explains its arguments: gan-modules fit --help. Those of one class: gan-modules fit --model.help DCGAN.
"""


class ArgumentParser(LightningArgumentParser):
    """A parser that answers a mistake with one sentence."""

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
            ImageDataModule,
            parser_class=ArgumentParser,
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            save_config_kwargs={"overwrite": True},
        )

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


def sample(
    ckpt_path: Path,
    n: int = 64,
    out: Path = Path("samples.png"),
    labels: int | list[int] | None = None,
    seed: int | None = 0,
    truncation: float = 1.0,
    ema: bool = True,
    device: str = "cpu",
) -> None:
    """Generate images from a checkpoint: one picture where `out` ends in .png, else a folder of numbered PNG files.

    Args:
        ckpt_path: The checkpoint; it names its own class.
        n: How many images.
        out: A PNG file for a grid, or a folder for single images.
        labels: Class of all images, or a list of n classes; by default all classes in turn.
        seed: Makes the images repeatable.
        truncation: Factor on the latents; below 1 for less variety.
        ema: Whether to use the averaged generator, where there is one.
        device: Where to compute: cpu, cuda, mps.
    """
    if n < 1:
        raise GANError(f"n={n} must be at least 1: it is the number of images.")
    model = _load(ckpt_path, device)
    if not isinstance(model, LatentGAN):
        raise GANError(f"'{ckpt_path}' holds a {type(model).__name__}, which does not make images from noise.")
    images = model.sample(n, labels=labels, seed=seed, truncation=truncation, ema=ema).cpu()
    if out.suffix.lower() == ".png":
        out.parent.mkdir(parents=True, exist_ok=True)
        points = len(model.image_shape) == 1
        as_image(scatter(images, images) if points else image_grid(images)).save(out)
        print(f"{n} samples: {out}")
        return
    if len(model.image_shape) == 1:
        raise GANError(f"{type(model).__name__} was trained on points, which make one picture: let --out end in .png.")
    out.mkdir(parents=True, exist_ok=True)
    for index, image in enumerate(tqdm(to_uint8(images), unit="image")):
        as_image(image).save(out / f"{index:06d}.png")
    print(f"{n} samples: {out}/")


def translate(
    ckpt_path: Path,
    input: str,
    output: str,
    direction: Direction = "AtoB",
    stochastic: bool = False,
    seed: int = 0,
    ema: bool = True,
    batch_size: int = 8,
    device: str = "cpu",
) -> None:
    """Translate every image below a folder to a file of the same name and size below another.

    The network sees each image at the size it was trained on; its answer is brought to the image's own.

    Args:
        ckpt_path: The checkpoint; it names its own class.
        input: The folder of images.
        output: The folder to write to.
        direction: AtoB, or BtoA where the model knows the way back.
        stochastic: Whether to translate as Pix2Pix was published, with dropout and each image's own statistics.
        seed: Makes stochastic translations repeatable.
        ema: Whether to use the averaged generator, where there is one.
        batch_size: Images to translate at a time.
        device: Where to compute: cpu, cuda, mps.
    """
    if batch_size < 1:
        raise GANError(f"batch_size={batch_size} must be at least 1.")
    source, target = Path(input).expanduser(), Path(output).expanduser()
    if not source.is_dir():
        raise GANError(f"There is no folder '{source}': pass the images' place as --input.")
    inner, outer = target.resolve(), source.resolve()
    if inner.is_relative_to(outer) or outer.is_relative_to(inner):
        raise GANError(f"'{source}' and '{target}' lie in one another: pass another folder as --output.")
    names = list_images(str(source))
    if not names:
        raise GANError(f"'{source}' holds no image: put some there ({' '.join(SUFFIXES)}).")
    model = _load(ckpt_path, device)
    if not isinstance(model, TranslationGAN):
        raise GANError(f"'{ckpt_path}' holds a {type(model).__name__}, which does not translate images: see sample.")
    channels, height, width = model.image_shape if direction == "AtoB" else model.target_shape
    opaque = [name for name in names if name.lower().endswith((".jpg", ".jpeg", ".bmp"))]
    if (model.target_shape if direction == "AtoB" else model.image_shape)[0] == 4 and opaque:
        raise GANError(f"'{opaque[0]}' is of a kind that holds no transparency, as this model's: convert to PNG.")
    torch.manual_seed(seed)
    with tqdm(total=len(names), unit="image") as bar:
        remaining = iter(names)
        while batch := list(islice(remaining, batch_size)):
            images = [read_image(os.path.join(source, name), channels) for name in batch]
            fitted = [image.resize((width, height), Image.Resampling.BICUBIC) for image in images]
            inputs = torch.stack([pixels(image, channels) for image in fitted]).float() / 127.5 - 1
            outputs = to_uint8(model.translate(inputs, direction, stochastic=stochastic, ema=ema)).cpu()
            for name, image, translation in zip(batch, images, outputs, strict=True):
                path = target / name
                path.parent.mkdir(parents=True, exist_ok=True)
                as_image(translation).resize(image.size, Image.Resampling.BICUBIC).save(path, quality=95)
            bar.update(len(batch))
    print(f"{len(names)} translations: {target}/")


def _load(ckpt_path: Path, device: str) -> GAN:
    """The model, on a device that has been seen to be there."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # AssertionError: torch was built without it
        raise GANError(f"There is no device '{device}' here: pass --device cpu.") from error
    return GAN.load_from_checkpoint(ckpt_path, map_location=device)


FROM_CHECKPOINT: dict[str, Callable[..., None]] = {"sample": sample, "translate": translate}


def main() -> None:
    """Run the command in `sys.argv`; a mistake of the user's ends in one sentence and status 2."""
    command = sys.argv[1] if len(sys.argv) > 1 else "--help"
    try:
        if command in ("-h", "--help"):
            print(HELP, end="")
        elif command == "--version":
            print(f"gan-modules {gan_modules.__version__}")
        elif command in FROM_CHECKPOINT:
            auto_cli(
                FROM_CHECKPOINT[command],
                args=sys.argv[2:],
                as_positional=False,
                prog=f"gan-modules {command}",
                parser_class=ArgumentParser,
            )
        elif command in CommandLine.subcommands():
            CommandLine()
        else:
            commands = [*CommandLine.subcommands(), *FROM_CHECKPOINT]
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
    if key in CHOICES and (match := re.search(r"dot import path string: (\S+)|Import path (\S+)", message)):
        name = match[1] or match[2]
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
