"""What a step costs, counted and not timed: operations, bytes for the backward passes, and bytes between processes.

The networks are played on PyTorch's meta device, which computes shapes alone, so that the largest games are counted in
seconds on any machine. A multiplication with its addition is two operations; what is no matrix product is left out.

    python -m examples.benchmarks.costs
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from examples.benchmarks.games import batches_per_step, phases_played
from gan_modules import DCGAN, WGANGP, StyleGAN2
from gan_modules.families.latent import LatentGAN

# By name: the model, and how many steps to play, so that lazy phases come in their proportion
GAMES: dict[str, tuple[Callable[[], LatentGAN], int]] = {
    "DCGAN, 32 pixels, 32 channels": (partial(DCGAN, (3, 32, 32), base_channels=32), 1),
    "DCGAN, 64 pixels": (DCGAN, 1),
    "WGANGP, 64 pixels ResNet": (partial(WGANGP, (3, 64, 64)), 1),
    "StyleGAN2, 256 pixels": (StyleGAN2.paper256, 16),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch_size", type=int, default=16, help="images of a batch; figures are for one image")
    size = parser.parse_args().batch_size
    torch.autocast = lambda *_, **__: nullcontext()  # which the meta device does not know
    print("| | G | D | a step | in (G + D) | kept for backward | parameters of G, D | averaged in a step |")
    print("|---|---|---|---|---|---|---|---|")
    for name, (build, steps) in GAMES.items():
        model = build().to("meta")
        generator = counted(lambda model=model: fakes(model, size)) / size
        discriminator = counted(lambda model=model: model.discriminator(fakes(model, size))) / size - generator
        updated: list[str] = []
        kept: list[int] = []
        whole = counted(lambda: play(model, steps, size, updated, kept)) / size / steps  # noqa: B023
        parameters = {name: sum(p.numel() for p in net.parameters()) / 1e6 for name, net in model.named_children()}
        averaged = 4 * sum(parameters[player] for player in updated) / steps
        print(
            f"| {name} | {generator / 1e9:.3g} | {discriminator / 1e9:.3g} | {whole / 1e9:.4g} | "
            f"{whole / (generator + discriminator):.1f} | {max(kept) / size / 1e6:.1f} MB | "
            f"{parameters['generator']:.1f} M, {parameters['discriminator']:.1f} M | {averaged:.0f} MB |"
        )
    print(
        "\nGFLOP for one image: forwards through each network; all phases of a step, for one image each. Kept: for the "
        "backward pass of the largest phase, an image. Averaged: gradients in float32, over all processes."
    )


def fakes(model: LatentGAN, n: int) -> Tensor:
    images: Tensor = model.generator(torch.randn(n, model.latent_dim, device="meta"))
    return images


class Counter(TorchDispatchMode):
    """Counts operations. PyTorch's own mode cannot look at a gradient of a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **kwargs or {})
        if count := flop_registry.get(func.overloadpacket):
            self.operations += count(*args, **kwargs or {}, out_val=result)
        return result


def counted(run: Callable[[], Any]) -> int:
    """The operations in it."""
    with Counter() as counter:
        run()
    return counter.operations


def play(model: LatentGAN, steps: int, n: int, updated: list[str], kept: list[int]) -> None:
    """Play steps as the engine does, but for the updates; note the players and the bytes kept for backward."""
    parameters = {p.untyped_storage()._cdata for p in model.parameters()}
    held: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in parameters:
            held[storage._cdata] = storage.nbytes()
        return tensor

    batches = [(torch.empty(n, *model.sample_shape, device="meta"),)] * (steps * batches_per_step(model))
    with torch.device("meta"), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        for phase, given in phases_played(model, batches):
            loss = torch.stack(list(phase.objective(given).values())).sum()
            updated.append(phase.player)
            kept.append(sum(held.values()))
            loss.backward()
            held.clear()
            model.zero_grad()


if __name__ == "__main__":
    main()
