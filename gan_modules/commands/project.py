"""``gan-modules project``: the styles that make a given image, by a checkpoint of the style line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, cast

from datamodules.image_files import fit, pixels, read_image
from gan_modules.commands.checkpoint import load_model
from gan_modules.commands.images import check_channels
from gan_modules.commands.outputs import check_folder
from gan_modules.engine.seeds import check_seed
from gan_modules.errors import GANError
from gan_modules.families.capabilities import HasStyles, require
from gan_modules.tools import project as projection
from gan_modules.tools.distances import LPIPS, Distance, PixelsAndFeatures
from gan_modules.tools.drawing import check_images


def project(
    ckpt_path: Path,
    image: Path,
    out: Path = Path("projection"),
    steps: int = 1000,
    w_plus: bool = False,
    labels: int | str | None = None,
    lpips: bool | None = None,
    seed: int = 0,
    ema: bool = True,
    device: str = "cpu",
) -> None:
    """Find the styles that make an image: w.safetensors, the image they make, and a strip of the way there.

    Args:
        ckpt_path: The checkpoint; it names its own class.
        image: The file; the middle of an image of another size is resized.
        out: The folder to write to.
        steps: Steps of the search.
        w_plus: Whether each layer may have styles of its own: nearer to the image, further from the model's own.
        labels: The image's class, by number or name, where the model is conditional. --class_idx is the same.
        lpips: Whether to compare by LPIPS, whose VGG16 is downloaded once (528 MB), rather than by pixels and the
            discriminator's features; by default where its weights can be had.
        seed: Makes the search repeatable; it is no seed of an image.
        ema: Whether to use the averaged generator, where there is one.
        device: Where to compute: cpu, cuda, mps.
    """
    check_seed(seed)
    if not image.is_file():
        raise GANError(f"There is no image '{image}': check the path.")
    check_folder(out)
    model = require(load_model(ckpt_path, device), HasStyles, "project")
    check_images(model, "project")
    channels, height, width = model.sample_shape
    check_channels(channels, "project")
    picture = read_image(str(image), channels)
    if picture.size != (width, height):
        sys.stderr.write(f"'{image}' is {picture.width}x{picture.height}: its middle is resized to {width}x{height}.\n")
        picture = fit(picture, (height, width), "center")
    target = pixels(picture, channels).float() / 127.5 - 1
    distance: Distance | None = None
    if lpips is not None:
        condition = model.sample_condition(1, labels)
        distance = LPIPS() if lpips else PixelsAndFeatures(cast(Any, model).discriminator, condition)
    found = projection(model, target, steps=steps, w_plus=w_plus, label=labels, distance=distance, seed=seed, ema=ema)
    found.save(out)
    before, after = ((made - target).square().mean() for made in (found.way[0][1], found.image))
    print(f"mean squared error {after:.3g}, of the mean image {before:.3g}: {out}/")
