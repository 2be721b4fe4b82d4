"""The ``.pth`` files of the original PyTorch code of CycleGAN and Pix2Pix: one network each, as a plain state_dict.

The keys and shapes alone show what a file holds: a ResNet has ``model.10.conv_block``, a U-Net nests ``model.model``,
a discriminator begins at ``model.0`` or, with patches of one pixel, at ``net.0``.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gan_modules.engine.checkpoint import claims_more_than_it_holds, write_atomically
from gan_modules.errors import GANError
from gan_modules.networks import build_patchgan, build_translator
from gan_modules.networks.norms import Norm

BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


@dataclass(frozen=True)
class TranslatorPlan:
    """The arguments of a generator, as `gan_modules.networks.build_translator` takes them."""

    name: str
    in_channels: int
    out_channels: int
    base_channels: int
    norm: Norm
    dropout: bool

    def build(self) -> nn.Module:
        """Return the generator."""
        return build_translator(*astuple(self))

    def arguments(self) -> dict[str, Any]:
        """Return the model's arguments for it, but for the channels."""
        return {
            "generator": self.name,
            "base_channels": self.base_channels,
            "norm": self.norm,
            "dropout": self.dropout,
        }


@dataclass(frozen=True)
class PatchPlan:
    """The arguments of a discriminator, as `gan_modules.networks.build_patchgan` takes them."""

    channels: int
    base_channels: int
    layers: int
    norm: Norm

    def build(self) -> nn.Module:
        """Return the discriminator."""
        return build_patchgan(*astuple(self))

    def arguments(self) -> dict[str, Any]:
        """Return the model's arguments for it, but for the channels."""
        return {"discriminator_channels": self.base_channels, "patch_layers": self.layers, "norm": self.norm}


def read_cyclegan_net(path: str | Path) -> nn.Module:
    """Return the network in an original ``.pth`` file: a ResNet or U-Net generator, or a PatchGAN, in evaluation mode.

    Sizes, blocks, dropout and norm are inferred. A U-Net's dropout leaves no trace in the file and is taken to be
    on, as published for Pix2Pix; it matters in training mode only.

    Args:
        path: Such as ``latest_net_G_A.pth``. DataParallel's prefixes and the buffers of old InstanceNorms are dropped.

    Raises:
        GANError: If the file is missing, damaged, holds more than tensors, or another network.
    """
    return read_plan_and_net(path)[1].eval()


def write_cyclegan_net(net: nn.Module, path: str | Path) -> None:
    """Write a generator or discriminator as a ``.pth`` file that the original code loads."""
    tensors = {key: tensor.detach().cpu().contiguous() for key, tensor in net.state_dict().items()}
    write_atomically(Path(path), lambda file: torch.save(OrderedDict(tensors), file))


def read_plan_and_net(path: str | Path) -> tuple[TranslatorPlan | PatchPlan, nn.Module]:
    """Return what a file holds, and the network itself; see `read_cyclegan_net`."""
    state = _read(Path(path))
    try:
        plan = _infer(state)
        with torch.device("meta"):  # no memory and no random initialisation
            net = plan.build()
        net.load_state_dict(state, assign=True)
    except (KeyError, IndexError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise GANError(
            f"'{path}' holds no ResNet, U-Net or PatchGAN in CycleGAN's original layout ({reason}): pass a file "
            f"such as latest_net_G_A.pth."
        ) from error
    return plan, net.float()


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise GANError(f"There is no file '{path}': pass one of CycleGAN's original code, such as latest_net_G_A.pth.")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for one thing: these bytes are no plain weights
        raise GANError(
            f"'{path}' cannot be read as weights: it is damaged, cut short, or holds more than tensors, which is never "
            f"executed; get it again from a source you trust."
        ) from error
    tensors = state.values() if isinstance(state, dict) else [None]
    if not all(isinstance(tensor, Tensor) and not claims_more_than_it_holds(tensor) for tensor in tensors):
        raise GANError(f"'{path}' is not the state_dict of one network: pass a file such as latest_net_G_A.pth.")
    state = {str(key).removeprefix("module."): tensor for key, tensor in state.items()}
    return {key: tensor for key, tensor in state.items() if not _is_of_instance_norm(key, state)}


def _is_of_instance_norm(key: str, state: dict[str, Tensor]) -> bool:
    """Return whether a buffer is an unused one of InstanceNorm in old files; BatchNorm's lies beside a weight."""
    layer, _, name = key.rpartition(".")
    return name in BUFFERS and f"{layer}.weight" not in state


def _infer(state: dict[str, Tensor]) -> TranslatorPlan | PatchPlan:
    kernels = {key: tensor for key, tensor in state.items() if tensor.ndim == 4}
    norm: Norm = "batch" if any(key.endswith(".running_mean") for key in state) else "instance"
    if "model.model.0.weight" in kernels:
        first, last = kernels["model.model.0.weight"], kernels["model.model.3.weight"]
        name = f"unet_{2 ** (len(kernels) // 2)}"  # a way down and a way up a level
        return TranslatorPlan(name, first.shape[1], last.shape[1], len(first), norm, dropout=True)
    if "model.1.weight" in kernels:
        numbers = {int(match[1]) for key in kernels if (match := re.match(r"model\.(\d+)\.conv_block", key))}
        first, last = kernels["model.1.weight"], kernels[f"model.{17 + len(numbers)}.weight"]
        dropout = any(key.endswith("conv_block.6.weight") and state[key].ndim == 4 for key in state)
        return TranslatorPlan(f"resnet_{len(numbers)}", first.shape[1], len(last), len(first), norm, dropout)
    if "model.0.weight" in kernels:
        first = kernels["model.0.weight"]
        return PatchPlan(first.shape[1], len(first), len(kernels) - 2, norm)
    first = kernels["net.0.weight"]
    return PatchPlan(first.shape[1], len(first), 0, norm)
