"""Ways from one latent to another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

SMALLEST_SINE = 1e-4  # of an angle between two latents below which the arc between them is a line, or not determined


def slerp(start: Tensor, end: Tensor, t: float | Tensor) -> Tensor:
    """Spherical interpolation: at constant angular speed along the arc, the norm changing linearly (arXiv:1609.04468).

    Normal latents lie near a sphere; a straight line between two would pass through norms that the generator has
    never seen. Where the two point the same or opposite ways, which leaves no arc, the way is the straight line.

    Args:
        start: Latents ``(…, D)`` at `t` = 0.
        end: Latents ``(…, D)`` at `t` = 1.
        t: Where between the two, in [0, 1]; one for all, or ``(…, 1)``.

    >>> slerp(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 3.0]), 0.5)
    tensor([1.4142, 1.4142])
    """
    a, b = (F.normalize(latent, dim=-1) for latent in (start, end))
    # the arc cosine would lose small angles in float32
    angle = 2 * torch.atan2((a - b).norm(dim=-1, keepdim=True), (a + b).norm(dim=-1, keepdim=True))
    sine = angle.sin()
    direction = (((1 - t) * angle).sin() * a + (t * angle).sin() * b) / sine
    norm = torch.lerp(start.norm(dim=-1, keepdim=True), end.norm(dim=-1, keepdim=True), t)
    return torch.where(sine > SMALLEST_SINE, norm * direction, torch.lerp(start, end, t))


def closed_path(
    keys: Sequence[Tensor], steps: int, between: Callable[[Tensor, Tensor, float], Tensor]
) -> Iterator[Tensor]:
    """Walk from key to key and from the last back to the first: ``len(keys) * steps`` latents, each key met once.

    Args:
        keys: Latents of one shape.
        steps: Latents from one key to the next, the next not counted.
        between: `slerp` or `torch.lerp`.
    """
    for start, end in pairwise([*keys, keys[0]]):
        yield from (between(start, end, step / steps) for step in range(steps))
