"""The model that a command works with."""

from __future__ import annotations

from pathlib import Path

import torch

from gan_modules.engine.game import GAN
from gan_modules.errors import GANError
from gan_modules.interop import load_nvidia


def check_device(device: str) -> None:
    """See that a device is there.

    Raises:
        GANError: If it is not.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # AssertionError: torch was built without it
        raise GANError(f"There is no device '{device}' here: pass --device cpu.") from error


def load_model(ckpt_path: Path, device: str) -> GAN:
    """The model, on a device that has been seen to be there; a ``.pkl`` is read as NVIDIA's StyleGAN2-ADA writes it."""
    check_device(device)
    if ckpt_path.suffix.lower() == ".pkl":
        return load_nvidia(ckpt_path).to(device)
    return GAN.load_from_checkpoint(ckpt_path, map_location=device)
