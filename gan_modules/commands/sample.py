"""``gan-modules sample``: images from noise, by a checkpoint."""

from __future__ import annotations

from pathlib import Path

from tqdm import tqdm

from gan_modules.base import GANError, LatentGAN
from gan_modules.callbacks.pictures import as_image, image_grid, scatter, to_uint8
from gan_modules.commands.checkpoint import load_model


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
    model = load_model(ckpt_path, device)
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
