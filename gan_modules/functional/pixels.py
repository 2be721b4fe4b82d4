"""Images in [-1, 1] as the pixels that files hold."""

from __future__ import annotations

import torch
from torch import Tensor


def to_uint8(images: Tensor) -> Tensor:
    """Round images from [-1, 1] to uint8; the exact inverse of the datamodules' scaling. Pixels stay as they are."""
    if images.dtype == torch.uint8:
        return images
    return ((images.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
