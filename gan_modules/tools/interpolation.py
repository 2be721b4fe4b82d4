"""Movies through latent space: from seed to seed and back to the first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from typing import Literal

import torch
from torch import Tensor
from tqdm import tqdm

from gan_modules.engine.class_names import Labels
from gan_modules.errors import GANError
from gan_modules.families.capabilities import HasStyles, Samples, require
from gan_modules.functional.latents import closed_path, slerp
from gan_modules.tools.drawing import check_images, seed_condition, seed_latents

Space = Literal["z", "w"]
Stop = tuple[Tensor, tuple[Tensor, ...]]  # latents (cells, …) and their condition


def interpolate(
    model: Samples,
    seeds: Sequence[int],
    *,
    steps: int = 30,
    cells: int = 1,
    space: Space | None = None,
    labels: Labels | None = None,
    truncation: float = 1.0,
    ema: bool = True,
) -> Iterator[Tensor]:
    """Move from seed to seed and from the last to the first, in one or several cells at once.

    At each seed stands the image that `draw` draws of it.

    Yields frames ``(cells, C, H, W)`` in [-1, 1], ``len(seeds) / cells * steps`` of them, made as they are asked for.

    Args:
        model: The model.
        seeds: The seeds, those of the first cell first: an equal share, of at least two, for each cell.
        steps: Frames from one seed to the next.
        cells: Images that move side by side.
        space: Along arcs in z, or along lines in w (arXiv:1812.04948), which style-based models alone have and
            prefer. In w the way leads from class to class as well; in z the image of one class fades into that of the
            next.
        labels: Class indices ``(len(seeds),)``, or one for all; by default seed modulo `num_classes`.
        truncation: See `LatentGAN.sample`.
        ema: Whether to use the averaged generator, where there is one.

    Raises:
        GANError: At once, if the seeds cannot be shared out or the model has no such space, classes or images.
    """
    check_images(require(model, Samples, "interpolate"), "interpolate")
    if steps < 1 or cells < 1:
        raise GANError(f"steps={steps} and cells={cells} must be at least 1.")
    keys, rest = divmod(len(seeds), cells)
    if rest or keys < 2:
        raise GANError(f"{len(seeds)} seeds cannot move {cells} cells: each needs as many, and at least two.")
    if space is None:
        space = "w" if isinstance(model, HasStyles) else "z"
    parts = seed_latents(model, seeds), *seed_condition(model, seeds, labels)
    z, *condition = (part.view(cells, keys, *part.shape[1:]) for part in parts)
    stops = [(z[:, key], tuple(part[:, key] for part in condition)) for key in range(keys)]
    if space == "w":
        frames = _in_w(require(model, HasStyles, "space='w'"), stops, steps, truncation, ema)
    else:
        frames = _in_z(model, stops, steps, truncation, ema)
    return iter(tqdm(frames, total=keys * steps, unit="frame"))


def _in_w(model: HasStyles, stops: Sequence[Stop], steps: int, truncation: float, ema: bool) -> Iterator[Tensor]:
    keys = [model.to_styles(z, condition, truncation=truncation, ema=ema) for z, condition in stops]
    return (model.from_styles(styles, ema=ema) for styles in closed_path(keys, steps, torch.lerp))


def _in_z(model: Samples, stops: Sequence[Stop], steps: int, truncation: float, ema: bool) -> Iterator[Tensor]:
    path = closed_path([z for z, _ in stops], steps, slerp)
    conditions = [condition for _, condition in stops]
    for start, end in pairwise([*conditions, conditions[0]]):
        one_class = all(map(torch.equal, start, end))
        for step, z in enumerate(islice(path, steps)):
            images = model.sample_from(z, start, truncation=truncation, ema=ema)
            if not one_class and step:
                others = model.sample_from(z, end, truncation=truncation, ema=ema)
                images = torch.lerp(images, others, step / steps)
            yield images
