"""What goes wrong outside the mathematics, told in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from gan_modules.engine.players import GANError


@contextmanager
def told_of_lost_processes() -> Iterator[None]:
    """Say that another process has ended, where a message to it fails.

    Raises:
        GANError: If it does.
    """
    try:
        yield
    except RuntimeError as error:
        raise GANError(
            f"Another process of this run has ended or does not answer, so this one stops too; its own last words "
            f"say why. Saved checkpoints are untouched. ({str(error).splitlines()[0]})"
        ) from error


def check_weights(state_dict: Mapping[str, Tensor]) -> None:
    """Refuse to save weights that are no longer finite.

    Raises:
        GANError: If some are not, naming the first.
    """
    floating = {name: t for name, t in state_dict.items() if t.is_floating_point() and type(t) is Tensor and t.numel()}
    if not floating:
        return
    finite = torch.isfinite(torch.stack([tensor.float().abs().amax() for tensor in floating.values()])).tolist()
    for name, is_finite in zip(floating, finite, strict=True):
        if not is_finite:
            raise GANError(
                f"The weights '{name}' are no longer finite: training stopped, the last checkpoint is untouched; try a "
                f"lower learning rate, clip_norm=1.0 or precision 32."
            )
