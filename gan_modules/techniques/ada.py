"""Adaptive discriminator augmentation (ADA, arXiv:2006.06676)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


class AdaptiveAugmentation(nn.Module):
    """Augments images with a probability p that follows the discriminator's overfitting (Sec. 3.1).

    Where r = E[sign D(real)] is above the target, the discriminator overfits and p grows; else p falls, never below 0.
    The state are whole numbers in buffers, so no precision loses the small steps.

    Args:
        augment: From images ``(N, C, H, W)`` and p, a scalar tensor, to augmented images.
        target: The r to hold.
        images: Images in which p moves by 1 while r stays on one side.

    >>> augment = AdaptiveAugmentation(lambda images, p: images, target=0.6, images=1000)
    >>> augment.observe(torch.tensor([[2.0], [0.1], [3.0], [1.0]]))
    >>> augment.adjust()
    >>> augment.p
    tensor(0.0040)
    """

    _seen: Tensor
    _signs: Tensor
    _progress: Tensor

    def __init__(self, augment: Callable[[Tensor, Tensor], Tensor], target: float, images: int) -> None:
        super().__init__()
        self.augment = augment
        self.target = target
        self.images = images
        for name in ("_seen", "_signs", "_progress"):  # reals since the last adjustment, their signs' sum, p × images
            self.register_buffer(name, torch.zeros((), dtype=torch.int64))

    @property
    def p(self) -> Tensor:
        """The probability, a scalar tensor."""
        return self._progress / self.images

    def forward(self, images: Tensor) -> Tensor:
        """Augment images ``(N, C, H, W)`` in [-1, 1]."""
        return self.augment(images, self.p)

    @torch.no_grad()
    def observe(self, real_logits: Tensor, total: Callable[[Tensor], Tensor] = lambda values: values) -> None:
        """Count the signs of the logits of augmented reals.

        Args:
            real_logits: Logits ``(N, 1)``.
            total: From values to their sum over all processes.
        """
        signs = real_logits.float().sign().sum()
        seen, signs = total(torch.stack([torch.full_like(signs, real_logits.numel()), signs])).round().long()
        self._seen += seen
        self._signs += signs

    @torch.no_grad()
    def adjust(self) -> None:
        """Move p towards the target by as much as the reals since the last adjustment allow."""
        direction = (self._signs - self.target * self._seen).sign().long()
        self._progress.add_(direction * self._seen).clamp_(min=0)
        self._seen.zero_()
        self._signs.zero_()
