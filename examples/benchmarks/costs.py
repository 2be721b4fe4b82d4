"""What a round costs, counted and not timed: operations, bytes for the backward passes, and bytes between processes.

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

from gan_modules import DCGAN, WGANGP, StyleGAN2
from gan_modules.families.latent import LatentGAN

# By name: the model, and which of its rounds are played: all kinds of a game whose rounds differ, in their proportion
GAMES: dict[str, tuple[Callable[[], LatentGAN], range]] = {
    "DCGAN, 32 pixels, 32 channels": (partial(DCGAN, (3, 32, 32), base_channels=32), range(1)),
    "DCGAN, 64 pixels": (DCGAN, range(1)),
    "WGANGP, 64 pixels ResNet": (partial(WGANGP, (3, 64, 64)), range(1)),
    "StyleGAN2, 256 pixels": (StyleGAN2.paper256, range(16)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch_size", type=int, default=16, help="images of a move; figures are for one image")
    size = parser.parse_args().batch_size
    torch.autocast = lambda *_, **__: nullcontext()  # which the meta device does not know
    print("| | G | D | a round | in (G + D) | kept for backward | parameters of G, D | averaged a round |")
    print("|---|---|---|---|---|---|---|---|")
    for name, (build, rounds) in GAMES.items():
        model = build().to("meta")
        generator = counted(lambda model=model: fakes(model, size)) / size
        discriminator = counted(lambda model=model: model.discriminator(fakes(model, size))) / size - generator
        kept: list[int] = []
        whole = (
            counted(lambda model=model, rounds=rounds, kept=kept: play(model, rounds, size, kept)) / size / len(rounds)
        )
        parameters = {name: sum(p.numel() for p in net.parameters()) / 1e6 for name, net in model.named_children()}
        moves = [move.partition("/")[0] for number in rounds for turn in model.turns(number) for move in turn]
        averaged = 4 * sum(parameters[name] for name in moves) / len(rounds)
        print(
            f"| {name} | {generator / 1e9:.3g} | {discriminator / 1e9:.3g} | {whole / 1e9:.4g} | "
            f"{whole / (generator + discriminator):.1f} | {max(kept) / size / 1e6:.1f} MB | "
            f"{parameters['generator']:.1f} M, {parameters['discriminator']:.1f} M | {averaged:.0f} MB |"
        )
    print(
        "\nGFLOP for one image: forwards through each network; all moves of a round, for one image each. Kept: for the "
        "backward pass of the largest move, an image. Averaged: gradients in float32, over all processes."
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


def play(model: LatentGAN, rounds: range, n: int, kept: list[int]) -> None:
    """Play rounds as the engine does, but for the steps, and note the bytes kept for each backward pass."""
    players = model.configure_players()
    parameters = {p.untyped_storage()._cdata for p in model.parameters()}
    held: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in parameters:
            held[storage._cdata] = storage.nbytes()
        return tensor

    for movers in (turn for number in rounds for turn in model.turns(number)):
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            ((part, _),) = model.deal((torch.empty(n, *model.image_shape, device="meta"),), movers)
            for move in movers:
                player = players[move.partition("/")[0]]
                for other in players.values():
                    other.network.requires_grad_(other is player)
                loss = torch.stack(list(player.objective_of(move)(part).values())).sum()
                kept.append(sum(held.values()))
                loss.backward()
                held.clear()
                for other in players.values():
                    other.network.requires_grad_(True)
                    other.network.zero_grad()


if __name__ == "__main__":
    main()
