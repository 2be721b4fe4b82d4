"""The styles that make a given image (arXiv:1912.04958, App. D)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from gan_modules.engine.contexts import evaluating
from gan_modules.engine.seeds import check_seed
from gan_modules.errors import GANError
from gan_modules.families.capabilities import HasStyles, Samples, require
from gan_modules.tools.distances import Distance, best_distance
from gan_modules.tools.drawing import check_images
from gan_modules.visuals.files import save_image
from gan_modules.visuals.sheets import sheet

DRAWN = 10_000  # latents that the mean and spread of w are measured on
LEARNING_RATE, RAMP_UP, RAMP_DOWN = 0.1, 0.05, 0.25  # the ramps as shares of the steps
NOISE, NOISE_ENDS = 0.05, 0.75  # of w's spread at the start; share of the steps after which none is left
SHOWN = 8  # pictures on the way in a strip


@dataclass(frozen=True)
class Projection:
    """An image found in the space of styles.

    Attributes:
        target: The image that was looked for, ``(C, H, W)`` in [-1, 1].
        ws: The nearest styles met on the way, ``(num_ws, w_dim)``.
        image: What they make, ``(C, H, W)``.
        distances: From the target at each step, ``(steps,)``, by the distance that was minimised.
        way: Steps and what their styles made, in order: first the mean w's, last `image`.
    """

    target: Tensor
    ws: Tensor
    image: Tensor
    distances: Tensor
    way: Sequence[tuple[int, Tensor]]

    def strip(self) -> Image.Image:
        """The target and the way to it, side by side."""
        words, images = zip(*self.way, strict=True)
        return sheet([[self.target, *images]], ["target", *(f"step {step}" for step in words)], [""])

    def save(self, folder: str | Path) -> None:
        """Write ``w.safetensors`` (key ``ws``), ``projected.png``, ``target.png`` and ``strip.png``.

        Images of more channels than PNG holds are written as ``.npy``, but for the strip, which shows the first three.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        save_file({"ws": self.ws.cpu().contiguous()}, folder / "w.safetensors")
        save_image(self.image, folder / "projected")
        save_image(self.target, folder / "target")
        self.strip().save(folder / "strip.png")


def project(
    model: Samples,
    image: Tensor,
    *,
    steps: int = 1000,
    w_plus: bool = False,
    label: int | str | None = None,
    distance: Distance | None = None,
    seed: int = 0,
    ema: bool = True,
) -> Projection:
    """Find the styles whose image, with constant noise, is nearest to the given one.

    Adam walks from the mean w; noise on w, less and less, keeps it from the nearest hollow.

    Args:
        model: A style-based model.
        image: The image ``(C, H, W)`` in [-1, 1], of the model's shape.
        steps: Steps of Adam.
        w_plus: Whether each layer may have styles of its own: nearer to the image, further from the model's own.
        label: The image's class, by default 0, where the model is conditional.
        distance: What to minimise; by default LPIPS where its weights are at hand, else pixels and features.
        seed: Makes the walk repeatable.
        ema: Whether to use the averaged generator, where there is one.

    Raises:
        GANError: If the model has no styles or makes no images, or the image, label or seed does not fit.
    """
    model = require(model, HasStyles, "project")
    check_images(model, "project")
    if tuple(image.shape) != model.sample_shape:
        raise GANError(f"The image is {tuple(image.shape)}, but the model makes {model.sample_shape}: resize it.")
    if steps < 1:
        raise GANError(f"steps={steps} must be at least 1.")
    condition = model.sample_condition(1, label)
    distance = distance or best_distance(cast(Any, model).discriminator, condition)
    source = torch.Generator().manual_seed(check_seed(seed))
    many = tuple(part.expand(DRAWN, *part.shape[1:]) for part in condition)
    ws = model.to_styles(model.draw_latents(DRAWN, seed), many, ema=ema)
    num_ws, drawn = ws.shape[1], ws[:, 0]
    mean = drawn.mean(dim=0)
    spread = (drawn - mean).square().sum(dim=1).mean().sqrt()
    target = image[None].to(ws)
    generator = cast(Any, model).averaged("generator", ema)
    w = mean.repeat(1, num_ws if w_plus else 1, 1).requires_grad_()
    optimizer = torch.optim.Adam([w])
    shown = {round(index * steps / SHOWN) for index in range(SHOWN)}
    way, distances = [], []
    found, nearest = w.detach(), math.inf
    for step in tqdm(range(steps), unit="step"):
        if step in shown:
            way.append((step, model.from_styles(w.detach().expand(-1, num_ws, -1), ema=ema)[0].cpu()))
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * _ramps(step / steps)
        tried = w + torch.randn(w.shape, generator=source).to(w) * spread * _noise(step / steps)
        with evaluating(generator):  # unlike `from_styles`, with gradients
            made = generator.synthesis(tried.expand(-1, num_ws, -1), noise="const").float()
        loss = distance(made, target).sum()
        distances.append(loss.item())
        if distances[-1] < nearest:
            found, nearest = tried.detach(), distances[-1]
        (w.grad,) = torch.autograd.grad(loss, w)  # of w alone: the model's own gradients stay as they are
        optimizer.step()
    ws = found.expand(-1, num_ws, -1)
    made = model.from_styles(ws, ema=ema)[0].cpu()
    return Projection(image.cpu(), ws[0].cpu(), made, torch.tensor(distances), [*way, (steps, made)])


def _ramps(done: float) -> float:
    """Factor on the learning rate: up linearly, down along a cosine."""
    down = min(1.0, (1 - done) / RAMP_DOWN)
    return (0.5 - 0.5 * math.cos(math.pi * down)) * min(1.0, done / RAMP_UP)


def _noise(done: float) -> float:
    """Noise on w as a share of its spread."""
    return NOISE * max(0.0, 1 - done / NOISE_ENDS) ** 2
