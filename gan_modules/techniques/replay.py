"""A pool of earlier fakes, shown to a discriminator again (arXiv:1612.07828, Sec. 2.3)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class ImagePool:
    """Keeps fakes and exchanges half of the new ones for older ones.

    Args:
        size: Images to keep; 0 keeps none, and `exchange` returns what it gets.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._images: list[Tensor] = []
        # on the CPU, and apart from the training's noise: no choice waits for the device, and all can be repeated
        self._random = torch.Generator().manual_seed(int(torch.randint(2**62, (), device="cpu")))

    def exchange(self, images: Tensor) -> Tensor:
        """Return images ``(N, C, H, W)`` that the discriminator sees in the place of these, which carry no graph.

        Until the pool is full, an image is kept and returned. Then it is returned, or, with probability ½, replaces an
        older one, which is returned in its place.
        """
        given = []
        for image in torch.split(images, 1):
            if len(self._images) < self.size:
                self._images.append(image.clone())
            elif self.size and torch.randint(2, (), generator=self._random):
                place = int(torch.randint(self.size, (), generator=self._random))
                older = self._images[place].to(image)
                self._images[place] = image.clone()
                image = older
            given.append(image)
        return torch.cat(given)

    def state_dict(self) -> dict[str, Any]:
        """Return the images ``(n, C, H, W)`` and the state of the random choices."""
        # on the CPU: restored images lie there, and another process's device is not ours
        images = torch.cat([image.cpu() for image in self._images]) if self._images else torch.empty(0)
        return {"images": images, "random": self._random.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the images and the random choices of another pool."""
        self._images = [image.clone() for image in torch.split(state["images"], 1)] if len(state["images"]) else []
        self._random.set_state(state["random"].cpu())
