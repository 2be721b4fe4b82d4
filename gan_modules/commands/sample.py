"""``gan-modules sample``: images from noise, by a checkpoint."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import torch

from datamodules.image_files import SUFFIXES
from gan_modules.commands.checkpoint import load_latent_model
from gan_modules.commands.numbers import Numbers, parse_numbers
from gan_modules.commands.outputs import check_file, check_folder
from gan_modules.engine.seeds import check_seed
from gan_modules.errors import GANError
from gan_modules.families.latent import SAMPLE_CHUNK
from gan_modules.tools.drawing import generate_batches, seed_condition, seed_latents
from gan_modules.visuals.pictures import as_image, image_grid, scatter, to_uint8


def sample(
    ckpt_path: Path,
    n: int = 64,
    out: Path = Path("samples.png"),
    labels: int | list[int] | None = None,
    seed: int | None = 0,
    seeds: Numbers | None = None,
    truncation: float = 1.0,
    ema: bool = True,
    device: str = "cpu",
) -> None:
    """Generate images from a checkpoint: one picture where `out` ends in .png, else a folder of numbered PNG files.

    Args:
        ckpt_path: The checkpoint; it names its own class.
        n: How many images, drawn together from one seed.
        out: A PNG file for a grid, or a folder for single images.
        labels: Class of all images, or a list with one for each; by default all classes in turn, or seed modulo
            classes with --seeds. --class_idx is the same.
        seed: Makes the n images repeatable.
        seeds: In place of n and seed: one image for each, as 0-35 or 1,5,8-11, whatever the others.
        truncation: Below 1 for less variety: factor on the latents; towards the mean w in the style line.
        ema: Whether to use the averaged generator, where there is one.
        device: Where to compute: cpu, cuda, mps.
    """
    chosen = None if seeds is None else parse_numbers("seeds", seeds)
    if seed is not None:
        check_seed(seed)
    if n < 1:
        raise GANError(f"n={n} must be at least 1: it is the number of images.")
    single = out.suffix.lower() == ".png"
    if not single and out.suffix.lower() in SUFFIXES and not out.is_dir():
        raise GANError(f"'{out}' is no name for a grid: let it end in .png, or name a folder for single images.")
    (check_file if single else check_folder)(out)
    model = load_latent_model(ckpt_path, device)
    points = len(model.image_shape) == 1
    if points and not single:
        raise GANError(f"{type(model).__name__} was trained on points, which make one picture: let --out end in .png.")
    if chosen is None:
        z, condition, at_once = model.latents(n, seed), model.condition(n, labels), SAMPLE_CHUNK
        names = [f"{index:06d}" for index in range(n)]
    else:
        z, condition, at_once = seed_latents(model, chosen), seed_condition(model, chosen, labels), 1
        names = [f"seed{number:06d}" for number in chosen]
    batches = (images.cpu() for images in generate_batches(model, z, condition, at_once, truncation, ema))
    if single:
        images = torch.cat(list(batches))
        out.parent.mkdir(parents=True, exist_ok=True)
        as_image(scatter(images, images) if points else image_grid(images)).save(out)
    else:
        out.mkdir(parents=True, exist_ok=True)
        for name, image in zip(names, chain.from_iterable(map(to_uint8, batches)), strict=True):
            as_image(image).save(out / f"{name}.png")
    print(f"{len(z)} samples: {out}{'' if single else '/'}")
