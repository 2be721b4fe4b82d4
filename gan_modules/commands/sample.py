"""``gan-modules sample``: samples from noise, by a checkpoint."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import numpy as np
import torch

from datamodules.image_files import SUFFIXES
from gan_modules.commands.checkpoint import load_model
from gan_modules.commands.numbers import Numbers, parse_numbers
from gan_modules.commands.outputs import check_file, check_folder
from gan_modules.engine.seeds import check_seed
from gan_modules.errors import GANError
from gan_modules.families.capabilities import Samples, require
from gan_modules.tools.drawing import generate_batches, seed_condition, seed_latents
from gan_modules.visuals.files import FPS, SAMPLE_RATE, save_samples
from gan_modules.visuals.movies import check_fps
from gan_modules.visuals.pictures import as_image
from gan_modules.visuals.samples import check_drawable, draw_samples

BATCH = 64  # samples that are made at a time
OTHER = (*SUFFIXES, ".gif", ".mp4", ".wav")  # of names that look like a single file which this command does not write


def sample(
    ckpt_path: Path,
    n: int = 64,
    out: Path = Path("samples.png"),
    labels: int | str | list[int | str] | None = None,
    seed: int | None = 0,
    seeds: Numbers | None = None,
    truncation: float = 1.0,
    ema: bool = True,
    sample_rate: int | None = None,
    fps: int = FPS,
    device: str = "cpu",
) -> None:
    """Generate samples from a checkpoint: one picture (.png), one array (.npy), or a folder of files.

    A folder gets images as PNG, audio as WAV, clips as GIF, points as samples.npy.

    Args:
        ckpt_path: The checkpoint; it names its own class.
        n: How many samples, drawn together from one seed.
        out: A .png file for one picture of all, a .npy file for their numbers, or a folder for a file each.
        labels: Class of all samples, by number or name, or a list with one for each; by default all classes in turn, or
            seed modulo classes with --seeds. --class_idx is the same.
        seed: Makes the n samples repeatable.
        seeds: In place of n and seed: one sample for each, as 0-35 or 1,5,8-11, whatever the others.
        truncation: Below 1 for less variety: factor on the latents; towards the mean w in the style line.
        ema: Whether to use the averaged generator, where there is one.
        sample_rate: Samples of audio a second; by default the model's own where it has one, else 16000.
        fps: Frames of a clip a second.
        device: Where to compute: cpu, cuda, mps.
    """
    chosen = None if seeds is None else parse_numbers("seeds", seeds)
    if seed is not None:
        check_seed(seed)
    if n < 1:
        raise GANError(f"n={n} must be at least 1: it is the number of samples.")
    if sample_rate is not None and sample_rate < 1:
        raise GANError(f"sample_rate={sample_rate} must be at least 1: it is the samples of audio a second.")
    check_fps(fps)
    suffix = out.suffix.lower()
    single = suffix in (".png", ".npy")
    if not single and suffix in OTHER and not out.is_dir():
        raise GANError(
            f"'{out}' is no name for a picture: let it end in .png, or in .npy, or name a folder for a file each."
        )
    (check_file if single else check_folder)(out)
    model = require(load_model(ckpt_path, device), Samples, "sample")
    if suffix == ".png":
        check_drawable(model.kind, model.sample_shape, f"'{out}'", "let --out end in .npy")
    if chosen is None:
        z, condition, at_once = model.draw_latents(n, seed), model.sample_condition(n, labels), BATCH
        names = [f"{index:06d}" for index in range(n)]
    else:
        z, condition, at_once = seed_latents(model, chosen), seed_condition(model, chosen, labels), 1
        names = [f"seed{number:06d}" for number in chosen]
    rate = sample_rate or getattr(model, "sample_rate", None) or SAMPLE_RATE
    batches = (part.cpu() for part in generate_batches(model, z, condition, at_once, truncation, ema))
    if single:
        samples = torch.cat(list(batches))
        out.parent.mkdir(parents=True, exist_ok=True)
        if suffix == ".npy":
            np.save(out, samples.numpy())
        else:
            as_image(draw_samples(samples, model.kind, sample_rate=rate)).save(out)
    else:
        each = None if model.kind == "point" else names  # all points are one file
        save_samples(chain.from_iterable(batches), out, model.kind, names=each, sample_rate=rate, fps=fps)
    print(f"{len(z)} samples: {out}{'' if single else '/'}")
