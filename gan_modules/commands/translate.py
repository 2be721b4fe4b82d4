"""``gan-modules translate``: a folder of images turned into images of the other side, by a checkpoint."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path

import torch
from PIL import Image
from tqdm import tqdm

from datamodules.image_files import SUFFIXES, list_images, pixels, read_image, saved_name
from gan_modules.commands.checkpoint import load_model
from gan_modules.commands.images import check_channels
from gan_modules.commands.outputs import check_folder
from gan_modules.engine.seeds import check_seed
from gan_modules.errors import GANError
from gan_modules.families.capabilities import Translates, require
from gan_modules.families.translation import Direction
from gan_modules.visuals.pictures import as_image, to_uint8


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
    """Translate every image below a folder to a file of the same name below another.

    The network sees each image at the size it was trained on. Its answer is brought to the image's own size, or, where
    the model changes sizes (from 32x32 to 128x128, say), to the image's own size times the model's factor.

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
    check_seed(seed)
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
    for folder in {(target / name).parent for name in names}:
        check_folder(folder, "output")
    model = require(load_model(ckpt_path, device), Translates, "translate")
    shapes = model.image_shape, model.target_shape
    (channels, height, width), (channels_out, *_) = shapes if direction == "AtoB" else shapes[::-1]
    for each in (channels, channels_out):
        check_channels(each, "translate")
    opaque = [name for name in names if name.lower().endswith((".jpg", ".jpeg", ".bmp"))]
    if channels_out == 4 and opaque:
        raise GANError(f"'{opaque[0]}' is of a kind that holds no transparency, as this model's: convert to PNG.")
    torch.manual_seed(seed)
    with tqdm(total=len(names), unit="image") as bar:
        remaining = iter(names)
        while batch := list(islice(remaining, batch_size)):
            images = [read_image(os.path.join(source, name), channels) for name in batch]
            fitted = [image.resize((width, height), Image.Resampling.BICUBIC) for image in images]
            inputs = torch.stack([pixels(image, channels) for image in fitted]).float() / 127.5 - 1
            outputs = to_uint8(model.translate(inputs, direction, stochastic=stochastic, ema=ema)).cpu()
            taller, wider = outputs.shape[2] / height, outputs.shape[3] / width
            for name, image, translation in zip(batch, images, outputs, strict=True):
                path = target / saved_name(name)
                path.parent.mkdir(parents=True, exist_ok=True)
                own = max(1, round(image.width * wider)), max(1, round(image.height * taller))
                as_image(translation).resize(own, Image.Resampling.BICUBIC).save(path, quality=95)
            bar.update(len(batch))
    factor = "" if taller == wider == 1 else f", each {wider:g} times as wide and {taller:g} times as high as its image"
    print(f"{len(names)} translations: {target}/{factor}")
