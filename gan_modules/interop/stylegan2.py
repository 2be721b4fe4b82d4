"""StyleGAN2 from a ``.pkl`` file of NVIDIA's StyleGAN2-ADA, and back to the state dicts that its networks take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from gan_modules.errors import GANError
from gan_modules.interop.nvidia import read_nvidia, to_nvidia_state_dict
from gan_modules.models.stylegan2 import StyleGAN2

FINE_TUNING_ADA_IMAGES = 100_000  # arXiv:2006.06676: a fifth of what training from scratch takes


def load_nvidia(path: str | Path, **changes: Any) -> StyleGAN2:
    """Return the model in a ``.pkl`` file of NVIDIA's StyleGAN2-ADA, to sample from and to fine-tune.

    Nothing in the file is executed. Training starts with new optimizers, and ADA, if `changes` ask for it, adapts five
    times as fast as in training from scratch (arXiv:2006.06676). The files do not hold `r1_weight`.

    Args:
        path: Such as ``ffhq.pkl``.
        **changes: Arguments of `StyleGAN2` that the networks' sizes leave open: rates, weights, `freeze_d`.

    Raises:
        GANError: If the file is missing, damaged or of another kind, or `changes` ask for networks of other sizes.
    """
    arguments, networks = read_nvidia(path)
    model = StyleGAN2(**{"ada_images": FINE_TUNING_ADA_IMAGES} | arguments | changes)
    try:
        # The average is the generator itself where none is kept, which then ends with its own weights
        model.averaged("generator").load_state_dict(networks["G_ema"].state_dict())
        model.generator.load_state_dict(networks.get("G", networks["G_ema"]).state_dict())
        model.discriminator.load_state_dict(networks["D"].state_dict())
    except RuntimeError as error:
        sizes = sorted(changes.keys() & arguments.keys())
        raise GANError(f"The networks in '{path}' have sizes of their own: leave out {', '.join(sizes)}.") from error
    model.begin_with_full_average()  # a new average would forget the file's within a few steps
    return model


def nvidia_state_dicts(model: StyleGAN2) -> dict[str, dict[str, Tensor]]:
    """Return the state dicts that the networks "G", "D" and "G_ema" of NVIDIA's StyleGAN2-ADA load."""
    networks = {"G": model.generator, "D": model.discriminator, "G_ema": model.averaged("generator")}
    return {name: to_nvidia_state_dict(network) for name, network in networks.items()}
