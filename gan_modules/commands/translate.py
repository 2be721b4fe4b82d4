"""``gan-modules translate``: images turned into images of the other domain, by a checkpoint."""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path
from typing import Literal

import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from datamodules import DataError
from datamodules.image_files import SUFFIXES, list_images, pixels, read_image, saved_name
from gan_modules.commands.checkpoint import load_model
from gan_modules.commands.images import check_channels
from gan_modules.commands.outputs import check_file, check_folder
from gan_modules.engine.seeds import check_seed
from gan_modules.errors import GANError
from gan_modules.families.capabilities import Translates, require
from gan_modules.families.translation import Direction
from gan_modules.tools.tiles import TILE, translate_any_size
from gan_modules.visuals.pictures import as_image, to_uint8

Pair = tuple[Path, Path]  # where an image is, and where its translation is to be


def translate(
    ckpt_path: Path,
    input: str,
    output: str,
    direction: Direction = "AtoB",
    size: Literal["native"] | int | None = None,
    tile: int = TILE,
    skip_unreadable: bool = False,
    stochastic: bool = False,
    seed: int = 0,
    ema: bool = True,
    batch_size: int = 8,
    device: str = "cpu",
) -> None:
    """Translate an image, or every image below a folder to a file of the same name below another.

    The network sees each image at the size it was trained on, or at its own (--size native). Its answer is brought to
    the image's own size, or, where the model changes sizes (from 32x32 to 128x128, say), to the image's own size times
    the model's factor.

    Args:
        ckpt_path: The checkpoint; it names its own class.
        input: The image, or the folder of images.
        output: The folder to write to; of a single image, also a file's name.
        direction: AtoB, or BtoA where the model knows the way back.
        size: What the network sees: native for the image as it is, or a number of pixels for its shorter side, its
            proportions kept; by default the size of the training.
        tile: The largest height and width, in pixels, that the network sees at a time where --size is given; what is
            larger is translated in overlapping tiles.
        skip_unreadable: Whether to leave out images that cannot be read, and name them.
        stochastic: Whether to translate as Pix2Pix was published, with dropout and each image's own statistics.
        seed: Makes stochastic translations repeatable.
        ema: Whether to use the averaged generator, where there is one.
        batch_size: Images to translate at a time, where all have the size of the training.
        device: Where to compute: cpu, cuda, mps.
    """
    check_seed(seed)
    for name, number in (("batch_size", batch_size), ("tile", tile), ("size", size)):
        if isinstance(number, int) and number < 1:
            raise GANError(f"{name}={number} must be at least 1.")
    pairs = _pairs(Path(input).expanduser(), Path(output).expanduser())
    model = require(load_model(ckpt_path, device), Translates, "translate")
    shapes = model.image_shape, model.target_shape
    (channels, height, width), (channels_out, *_) = shapes if direction == "AtoB" else shapes[::-1]
    for each in (channels, channels_out):
        check_channels(each, "translate")
    opaque = [path for _, path in pairs if path.suffix.lower() in (".jpg", ".jpeg", ".bmp")]
    if channels_out == 4 and opaque:
        raise GANError(f"'{opaque[0]}' is of a kind that holds no transparency, as this model's: convert to PNG.")
    torch.manual_seed(seed)
    written, skipped, factors = 0, [], (1.0, 1.0)
    with tqdm(total=len(pairs), unit="image") as bar:
        remaining = iter(pairs)
        while batch := list(islice(remaining, batch_size if size is None else 1)):
            read = []
            for source, target in batch:
                try:
                    read.append((read_image(str(source), channels), target))
                except DataError as error:
                    if not skip_unreadable:
                        raise
                    skipped.append(str(source))
                    bar.write(f"{error} It is left out.", file=sys.stderr)
            if read:
                seen = torch.stack([_scaled(image, (width, height), size) for image, _ in read])
                inputs = seen.float() / 127.5 - 1
                if size is None:
                    answers = model.translate(inputs, direction, stochastic=stochastic, ema=ema)
                else:
                    answers = translate_any_size(
                        model, inputs[0], direction, tile=tile, stochastic=stochastic, ema=ema
                    )[None]
                factors = answers.shape[2] / seen.shape[2], answers.shape[3] / seen.shape[3]
                for (image, target), answer in zip(read, to_uint8(answers).cpu(), strict=True):
                    target.parent.mkdir(parents=True, exist_ok=True)
                    own = max(1, round(image.width * factors[1])), max(1, round(image.height * factors[0]))
                    as_image(answer).resize(own, Image.Resampling.BICUBIC).save(target, quality=95)
            written += len(read)
            bar.update(len(batch))
    if not written:
        raise GANError(f"None of the {len(pairs)} images can be read: pass others as --input.")
    taller, wider = factors
    factor = "" if taller == wider == 1 else f", each {wider:g} times as wide and {taller:g} times as high as its image"
    left = f", {len(skipped)} unreadable images left out: {', '.join(skipped[:5])}{', …' * (len(skipped) > 5)}"
    where = f"{output}/" if Path(input).expanduser().is_dir() else pairs[0][1]
    print(f"{written} translations: {where}{factor}{left if skipped else ''}")


def _pairs(source: Path, target: Path) -> list[Pair]:
    """Return each image with the file of its translation, seen to be writable and none of the images.

    Raises:
        GANError: If there is no image, or its translation cannot be written there.
    """
    if source.is_file():
        if target.suffix.lower() in SUFFIXES and not target.is_dir():
            file = target
        else:
            check_folder(target, "output")
            file = target / saved_name(source.name)
        if file.resolve() == source.resolve():
            raise GANError(f"'{file}' is the image itself: pass another place as --output.")
        check_file(file, "output")
        return [(source, file)]
    if not source.is_dir():
        raise GANError(f"There is no image and no folder '{source}': pass the images' place as --input.")
    inner, outer = target.resolve(), source.resolve()
    if inner.is_relative_to(outer) or outer.is_relative_to(inner):
        raise GANError(f"'{source}' and '{target}' lie in one another: pass another folder as --output.")
    names = list_images(str(source))
    if not names:
        raise GANError(f"'{source}' holds no image: put some there ({' '.join(SUFFIXES)}).")
    for folder in {(target / name).parent for name in names}:
        check_folder(folder, "output")
    return [(source / name, target / saved_name(name)) for name in names]


def _scaled(image: Image.Image, trained: tuple[int, int], size: Literal["native"] | int | None) -> Tensor:
    """Return what the network is to see of an image, uint8 ``(C, H, W)``."""
    seen = image.size
    if size is None:
        seen = trained
    elif size != "native":
        shorter = min(image.size)
        seen = round(image.width * size / shorter), round(image.height * size / shorter)
    scaled = image if seen == image.size else image.resize(seen, Image.Resampling.BICUBIC)
    return pixels(scaled, len(image.getbands()))
