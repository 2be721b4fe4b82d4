"""Images in [-1, 1] as the pixels that files hold."""

from __future__ import annotations

import torch
from torch import Tensor

from gan_modules.errors import GANError

PIXELS = 16.0  # floats from 0 to above this are pixels from 0 to 255: no network's images in [-1, 1] reach so far


def to_uint8(images: Tensor) -> Tensor:
    """Return images as uint8: floats are rounded from [-1, 1], the exact inverse of the datamodules' scaling.

    Integers of any width are pixels from 0 to 255 already, and bools are black and white. Floats somewhat out of
    [-1, 1], as networks make them, are clamped.

    Raises:
        GANError: If integers are no pixels, or floats are pixels from 0 to 255.
    """
    if images.dtype == torch.uint8:
        return images
    if images.dtype == torch.bool:
        return images.to(torch.uint8) * 255
    if not images.numel():
        return images.to(torch.uint8)
    if not images.is_floating_point():
        images = images.long()
        least, most = (int(value) for value in images.aminmax())
        if not 0 <= least <= most <= 255:
            raise GANError(
                f"Integer images hold pixels from 0 to 255, and these go from {least} to {most}: scale them to uint8, "
                f"or to floats in [-1, 1]."
            )
        return images.to(torch.uint8)
    images = images.float()
    lowest, highest = (float(value) for value in images.aminmax())
    if lowest >= 0 and highest > PIXELS:
        raise GANError(
            f"Images as floats lie in [-1, 1], and these go from {lowest:.4g} to {highest:.4g}: pass pixels as "
            f"uint8, or scale them, x / 127.5 - 1."
        )
    return ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
