"""Video as a picture: a film strip a row."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.utils import make_grid

from gan_modules.visuals.pictures import enlarge, visible

CELL = 64  # the least height and width of a frame, in pixels
SHOWN = 8  # frames of a clip
GAP = 6  # between strips, in pixels


def film_strips(clips: Tensor, frames: int = SHOWN, cell: int = CELL) -> Tensor:
    """Draw clips ``(N, C, T, H, W)`` in [-1, 1] as an RGB picture: a strip each, evenly chosen frames side by side.

    Args:
        clips: The clips; of their channels, see `visible`.
        frames: Frames of a clip, the first and the last among them; all, where there are fewer.
        cell: The least height and width of a frame, in pixels.
    """
    length = clips.shape[2]
    chosen = torch.linspace(0, length - 1, min(frames, length)).round().long()
    strips = [
        make_grid(enlarge(visible(clip[:, chosen].transpose(0, 1)), cell), nrow=len(chosen), pad_value=0)
        for clip in clips.cpu()
    ]
    framed = torch.cat([F.pad(strip, (GAP, GAP, 0, GAP), value=255) for strip in strips], dim=1)
    return F.pad(framed, (0, 0, GAP, 0), value=255)
