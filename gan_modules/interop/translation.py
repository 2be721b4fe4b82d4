"""Pix2Pix and CycleGAN from a folder of the original PyTorch code, and back: a ``.pth`` file for each network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from gan_modules.errors import GANError
from gan_modules.interop.cyclegan import TranslatorPlan, read_plan_and_net, write_cyclegan_net
from gan_modules.models.cyclegan import CycleGAN
from gan_modules.models.pix2pix import Pix2Pix

# The models' networks by their names in the original files, generators first
PIX2PIX = {"G": "generator", "D": "discriminator"}
CYCLEGAN = {
    "G_A": "generators.AtoB",
    "G_B": "generators.BtoA",
    "D_A": "discriminators.AtoB",
    "D_B": "discriminators.BtoA",
}


def load_pix2pix(folder: str | Path, epoch: str = "latest", image_size: int | None = None, **arguments: Any) -> Pix2Pix:
    """Return the Pix2Pix in a folder of the original code, without executing anything of the files.

    Sizes, blocks, dropout and norm are inferred. If ``latest_net_D.pth`` is missing, the discriminator keeps its random
    initialisation.

    Args:
        folder: Holds ``latest_net_G.pth`` and optionally ``latest_net_D.pth``.
        epoch: First part of the files' names.
        image_size: Height and width for further training (pixels); by default a U-Net's own, else 256.
        **arguments: Further arguments of `Pix2Pix`; they replace inferred ones.

    Raises:
        GANError: If a file is missing or damaged, holds another network, or does not fit the files beside it.
    """
    inferred, nets = _read_game(Path(folder), epoch, PIX2PIX, image_size)
    model = Pix2Pix(**inferred | arguments)
    _load_networks(model, PIX2PIX, nets, folder)
    return model


def load_cyclegan(
    folder: str | Path, epoch: str = "latest", image_size: int | None = None, **arguments: Any
) -> CycleGAN:
    """Return the CycleGAN in a folder of the original code, without executing anything of the files.

    Sizes, blocks, dropout and norm are inferred. Discriminators without a file keep their random initialisation.

    Args:
        folder: Holds ``latest_net_G_A.pth`` and ``latest_net_G_B.pth``, and optionally ``latest_net_D_A.pth`` and
            ``latest_net_D_B.pth``.
        epoch: First part of the files' names.
        image_size: Height and width for further training (pixels); by default a U-Net's own, else 256.
        **arguments: Further arguments of `CycleGAN`; they replace inferred ones.

    Raises:
        GANError: If a file is missing or damaged, holds another network, or does not fit the files beside it.
    """
    inferred, nets = _read_game(Path(folder), epoch, CYCLEGAN, image_size)
    model = CycleGAN(**inferred | arguments)
    _load_networks(model, CYCLEGAN, nets, folder)
    return model


def save_pix2pix(model: Pix2Pix, folder: str | Path, epoch: str = "latest") -> None:
    """Write ``latest_net_G.pth`` and ``latest_net_D.pth``, which the original code loads."""
    _save_networks(model, PIX2PIX, Path(folder), epoch)


def save_cyclegan(model: CycleGAN, folder: str | Path, epoch: str = "latest") -> None:
    """Write ``latest_net_G_A.pth``, ``latest_net_G_B.pth`` and the discriminators', which the original code loads."""
    _save_networks(model, CYCLEGAN, Path(folder), epoch)


def _read_game(
    folder: Path, epoch: str, names: Mapping[str, str], image_size: int | None
) -> tuple[dict[str, Any], dict[str, nn.Module]]:
    """Return the arguments that build a model for the networks of a folder, and the networks by name."""
    arguments: dict[str, Any] = {}
    nets: dict[str, nn.Module] = {}
    channels: tuple[int, int] | None = None
    for name in names:
        path = folder / f"{epoch}_net_{name}.pth"
        if name.startswith("D") and not path.exists():
            continue
        plan, nets[name] = read_plan_and_net(path)
        if isinstance(plan, TranslatorPlan) != name.startswith("G"):
            raise GANError(f"'{path}' holds a {type(nets[name]).__name__}, which is no net_{name}: was it renamed?")
        found = plan.arguments()
        differing = [key for key in found.keys() & arguments.keys() if found[key] != arguments[key]]
        if differing:
            key = differing[0]
            raise GANError(
                f"'{path}' does not belong to the networks beside it: its {key} is {found[key]}, theirs "
                f"{arguments[key]}; keep the files of one run in one folder."
            )
        if isinstance(plan, TranslatorPlan) and channels is None:
            channels = plan.in_channels, plan.out_channels
        arguments |= found
    assert channels is not None  # a generator comes first
    kind, _, number = arguments["generator"].partition("_")
    own_size = int(number) if kind == "unet" else 256
    size = own_size if image_size is None else image_size
    source, target = ((count, size, size) for count in channels)
    return {"image_shape": source, "target_shape": target, **arguments}, nets


def _load_networks(
    model: nn.Module, names: Mapping[str, str], nets: Mapping[str, nn.Module], folder: str | Path
) -> None:
    for name, net in nets.items():
        try:
            model.get_submodule(names[name]).load_state_dict(net.state_dict())
        except RuntimeError as error:
            raise GANError(
                f"net_{name} in '{folder}' is for images of other channels than the networks beside it: keep the "
                f"files of one run in one folder."
            ) from error


def _save_networks(model: nn.Module, names: Mapping[str, str], folder: Path, epoch: str) -> None:
    for name, module in names.items():
        write_cyclegan_net(model.get_submodule(module), folder / f"{epoch}_net_{name}.pth")
