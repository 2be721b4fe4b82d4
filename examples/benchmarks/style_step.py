"""StyleGAN2's training step against the plainest form of the same networks, alternating in one process.

    python examples/benchmarks/style_step.py --image_size 32 --batch_size 16 --threads 1

Plain is: modulated convolutions with a kernel of its own for each image, all in one grouped convolution; zeros put
between the pixels, and a convolution over all of them, to upsample; contiguous memory. Both forms start from the same
weights, and their images are compared before they are timed. A step is an update of each player, R1 every 16th and path
lengths every 4th step.
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn import functional as F

from gan_modules.functional import losses, regularizers
from gan_modules.functional.upfirdn import BINOMIAL
from gan_modules.networks import StyleGAN2Discriminator, StyleGAN2Generator, stylegan2


def plain_modulated_conv2d(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    *,
    demodulate: bool = True,
    up: bool = False,
    grouped: bool = True,
    gain: float = 1.0,
) -> Tensor:
    weights = weight * styles[:, None, :, None, None]
    if demodulate:
        weights = weights * (weights.square().sum((2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    padding = weight.shape[-1] // 2
    if up:
        x, weights, padding = zeros_between(x), weights.flip(3, 4), 2
    images = F.conv2d(x.reshape(1, -1, *x.shape[2:]), weights.flatten(0, 1), padding=padding, groups=len(x))
    images = images.reshape(len(x), -1, *images.shape[2:])
    return gain * (plain_filter(images, (1, 0), 4.0) if up else images)


def zeros_between(x: Tensor) -> Tensor:
    n, channels, height, width = x.shape
    return F.pad(x.reshape(n, channels, height, 1, width, 1), [0, 1, 0, 0, 0, 1]).reshape(
        n, channels, 2 * height, 2 * width
    )


def plain_filter(x: Tensor, padding: tuple[int, int], gain: float = 1.0) -> Tensor:
    line = torch.tensor(BINOMIAL, device=x.device)
    kernel = gain * torch.outer(line, line).expand(x.shape[1], 1, 4, 4)
    return F.conv2d(F.pad(x, [*padding, *padding]), kernel, groups=x.shape[1])


def plainly() -> AbstractContextManager[object]:
    """In here, the networks compute in the plain form."""
    return patch.multiple(
        stylegan2,
        modulated_conv2d=plain_modulated_conv2d,
        blur=lambda x, padding: plain_filter(x, (padding, padding)),
        upsample=lambda x: plain_filter(zeros_between(x), (2, 1), 4.0),
        downsample=lambda x: plain_filter(x, (1, 1))[..., ::2, ::2],
    )


class Game:
    """Both players with their optimizers, in one form."""

    def __init__(self, generator: StyleGAN2Generator, discriminator: StyleGAN2Discriminator, plain: bool) -> None:
        layout = torch.contiguous_format if plain else torch.channels_last
        self.generator = copy.deepcopy(generator).to(memory_format=layout)
        self.discriminator = copy.deepcopy(discriminator).to(memory_format=layout)
        self.optimizers = [
            torch.optim.Adam(net.parameters(), lr=1e-3, betas=(0.0, 0.99), eps=1e-8, fused=True)
            for net in (self.discriminator, self.generator)
        ]
        self.form: Callable[[], AbstractContextManager[object]] = plainly if plain else nullcontext
        self.layout = layout

    def phases(self, real: Tensor, z: Tensor) -> dict[str, Callable[[], Tensor]]:
        real = real.contiguous(memory_format=self.layout)

        def discriminator() -> Tensor:
            with torch.no_grad():
                fake = self.generator(z)
            return losses.minimax_d(self.discriminator(real), self.discriminator(fake))

        def path_lengths() -> Tensor:
            ws = self.generator.mapping(z[: len(z) // 2])
            return regularizers.path_lengths(self.generator.synthesis(ws), ws).square().mean()

        return {
            "discriminator": discriminator,
            "generator": lambda: losses.non_saturating_g(self.discriminator(self.generator(z))),
            "R1": lambda: regularizers.r1(self.discriminator, real),
            "path lengths": path_lengths,
        }

    def seconds(self, phase: str, real: Tensor, z: Tensor) -> float:
        net, optimizer = (
            (self.discriminator, self.optimizers[0])
            if phase in ("discriminator", "R1")
            else (self.generator, self.optimizers[1])
        )
        self.generator.requires_grad_(net is self.generator)
        self.discriminator.requires_grad_(net is self.discriminator)
        with self.form():
            wait(real.device)
            start = time.perf_counter()
            optimizer.zero_grad()
            self.phases(real, z)[phase]().backward()
            optimizer.step()
            wait(real.device)
            return time.perf_counter() - start


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image_size", type=int, default=32)
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--channel_base", type=int, default=2048)
    parser.add_argument("--channel_max", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    shape = (3, options.image_size, options.image_size)
    widths = {"channel_base": options.channel_base, "channel_max": options.channel_max}
    generator = StyleGAN2Generator(shape, 128, style_dim=128, mapping_layers=2, **widths).to(options.device)
    discriminator = StyleGAN2Discriminator(shape, **widths).to(options.device)
    real = torch.rand(options.batch_size, *shape, device=options.device) * 2 - 1
    z = torch.randn(options.batch_size, 128, device=options.device)
    games = {"ours": Game(generator, discriminator, plain=False), "plain": Game(generator, discriminator, plain=True)}
    outputs = {}
    for name, game in games.items():
        with game.form(), torch.no_grad():
            images = game.generator(z, noise="none")
            outputs[name] = images, game.discriminator(images)
    for ours, plain in zip(*outputs.values(), strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-3, atol=1e-3)
    totals = dict.fromkeys(games, 0.0)
    print(f"{'':<14} {'plain':>9} {'ours':>9} {'ratio':>7}   ms, medians of {options.repeats}; every so many steps")
    for phase, interval in {"discriminator": 1, "generator": 1, "R1": 16, "path lengths": 4}.items():
        for game in games.values():
            game.seconds(phase, real, z)
        pairs = [{name: game.seconds(phase, real, z) for name, game in games.items()} for _ in range(options.repeats)]
        ours, plain = (1e3 * statistics.median(pair[name] for pair in pairs) for name in games)
        ratio = statistics.median(pair["plain"] / pair["ours"] for pair in pairs)
        print(f"{phase:<14} {plain:9.1f} {ours:9.1f} {ratio:7.2f}   {interval}")
        totals["ours"] += ours / interval
        totals["plain"] += plain / interval
    print(f"{'a step':<14} {totals['plain']:9.1f} {totals['ours']:9.1f} {totals['plain'] / totals['ours']:7.2f}")


if __name__ == "__main__":
    main()
