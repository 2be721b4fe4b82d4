"""``gan-modules interpolate``: a movie from seed to seed, by a checkpoint."""

from __future__ import annotations

from pathlib import Path

from gan_modules.commands.checkpoint import load_model
from gan_modules.commands.numbers import Numbers, parse_numbers
from gan_modules.commands.outputs import check_file
from gan_modules.families.capabilities import Samples, require
from gan_modules.tools import interpolate as interpolation
from gan_modules.tools.interpolation import Space
from gan_modules.visuals.movies import check_movie, save_movie


def interpolate(
    ckpt_path: Path,
    seeds: Numbers = "0-7",
    out: Path = Path("interpolation.gif"),
    steps: int = 30,
    cells: int = 1,
    space: Space | None = None,
    labels: int | str | list[int | str] | None = None,
    fps: int = 25,
    truncation: float = 1.0,
    ema: bool = True,
    device: str = "cpu",
) -> None:
    """Make a movie that moves from seed to seed and from the last to the first, without a seam.

    Args:
        ckpt_path: The checkpoint; it names its own class.
        seeds: Where the movie comes by, as 0-7 or 1,5,8-11.
        out: A file in .gif, or in .mp4 (which needs PyAV: the extra video).
        steps: Frames from one seed to the next.
        cells: Images that move side by side, each from seed to seed of its equal share.
        space: Arcs in z, or lines in w; by default w where the model has one.
        labels: Class of all images, by number or name, or a list with one for each seed; by default seed modulo
            classes, as for sample --seeds. --class_idx is the same.
        fps: Frames a second.
        truncation: Below 1 for less variety: factor on the latents; towards the mean w in the style line.
        ema: Whether to use the averaged generator, where there is one.
        device: Where to compute: cpu, cuda, mps.
    """
    chosen = parse_numbers("seeds", seeds)
    check_movie(out, fps)
    check_file(out)
    model = require(load_model(ckpt_path, device), Samples, "interpolate")
    frames = interpolation(
        model, chosen, steps=steps, cells=cells, space=space, labels=labels, truncation=truncation, ema=ema
    )
    save_movie(frames, out, fps)
    print(f"{len(chosen) // cells * steps} frames: {out}")
