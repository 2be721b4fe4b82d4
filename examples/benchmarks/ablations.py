"""What each of the means to speed gives: Trainer with it, as the library is, and without it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from datamodules.in_memory import InMemory
from examples.benchmarks.games import GAMES, under_trainer
from examples.benchmarks.pairs import Comparison, Pace, Side
from gan_modules import DCGAN, GAN, WGANGP, VanillaGAN
from gan_modules.engine.inputs import Inputs
from gan_modules.engine.players import Losses, Phase, Player
from gan_modules.functional import losses, regularizers

WITH, WITHOUT = "with", "without"
HELD = 50_000  # images in memory


class FreshFakes(DCGAN):
    """The generator's phase makes fakes of its own."""

    def phases(self) -> list[Phase]:
        return [replace(phase, fresh=phase.player == "generator") for phase in super().phases()]


class ChannelsFirst(DCGAN):
    """Channels before pixels, PyTorch's own order."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.to(memory_format=torch.contiguous_format)

    def discriminator_losses(self, x: Inputs) -> Losses:
        return {"minimax": losses.minimax_d(self.discriminator(x.real.contiguous()), self.discriminator(x.fake))}


class OwnAdam(DCGAN):
    """PyTorch's Adam with its default implementation."""

    def players(self) -> dict[str, Player]:
        optimizer = partial(torch.optim.Adam, lr=2e-4, betas=(0.5, 0.999))
        return {name: Player(player.modules, optimizer) for name, player in super().players().items()}


class AveragedOneByOne(DCGAN):
    """An average that is updated tensor by tensor."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options | {"ema_half_life": 0})
        self.average = copy.deepcopy(self.generator).requires_grad_(False)

    @torch.no_grad()
    def after_update(self, player: str) -> None:
        if player == "generator":
            ours, theirs = ([*net.parameters(), *net.buffers()] for net in (self.average, self.generator))
            for own, new in zip(ours, theirs, strict=True):
                if own.is_floating_point():
                    own.lerp_(new, 0.001)


class WholeBackward(WGANGP):
    """A penalty whose backward pass goes through the whole critic."""

    def discriminator_losses(self, x: Inputs) -> Losses:
        return {
            "critic": losses.wasserstein_d(self.discriminator(x.real), self.discriminator(x.fake)),
            "gradient_penalty": self.gp_weight * regularizers.gradient_penalty(self.discriminator, x.real, x.fake),
        }


class LoggedByLightning(VanillaGAN):
    """`self.log` in each phase."""

    def discriminator_losses(self, x: Inputs) -> Losses:
        return self.logged("discriminator", super().discriminator_losses(x))

    def generator_losses(self, x: Inputs) -> Losses:
        return self.logged("generator", super().generator_losses(x))

    def logged(self, player: str, terms: Losses) -> Losses:
        for name, loss in terms.items():
            self.log(f"{player}/{name}/logged", loss.detach())
        return terms


class Heard(VanillaGAN):
    """A model that listens to Lightning's hooks around each backward pass and step."""

    def on_after_backward(self) -> None:
        pass


# By name: the model without the means, the game of the table that it plays, and what stands in the table
WITHOUT_IT: dict[str, tuple[type[GAN], str, str]] = {
    "fakes": (FreshFakes, "dcgan", "fakes of a batch made once, against once more for the generator's phase"),
    "channels_last": (ChannelsFirst, "dcgan", "channels_last"),
    "fused": (OwnAdam, "dcgan", "Adam fused"),
    "average": (AveragedOneByOne, "dcgan", "the moving average of all tensors by one operation, half-life 10,000"),
    "curvature": (
        WholeBackward,
        "wgan_gp",
        "the zero second derivative of a piecewise linear critic skipped",
    ),
    "logging": (LoggedByLightning, "points", "losses logged every 50 steps, against `self.log` in each phase"),
    "hooks": (Heard, "points", "Lightning's hooks around backward and step left out where nobody listens"),
}


def removed(name: str) -> Comparison:
    """Compare a game under Trainer with one of the means and without it."""
    cls, game, about = WITHOUT_IT[name]
    build, batch_size, of_game = GAMES[game]
    half_life = 10_000 if name == "average" else 0
    without = partial(cls, *build.args, **build.keywords)  # type: ignore[attr-defined]
    return _comparison(
        f"{about}; {of_game}",
        under_trainer(build, batch_size, ema_half_life=half_life),
        under_trainer(without, batch_size, ema_half_life=half_life),
    )


def compiled(name: str) -> Comparison:
    """Compare a game with `compile=True` and without."""
    build, batch_size, about = GAMES[name]
    with_it = under_trainer(partial(build, compile=True), batch_size)
    return _comparison(f"compile=True; {about}", with_it, under_trainer(build, batch_size))


def bfloat16(name: str) -> Comparison:
    """Compare a game in mixed precision and in float32."""
    build, batch_size, about = GAMES[name]
    with_it = under_trainer(build, batch_size, "bf16-mixed")
    return _comparison(f"precision bf16-mixed; {about}", with_it, under_trainer(build, batch_size))


def uint8() -> Comparison:
    """Compare batches of 64 images held as bytes and scaled as a batch, and held as floats."""

    def side(as_floats: bool, pace: Pace) -> None:
        images = torch.randint(0, 256, (HELD, 3, 32, 32), dtype=torch.uint8)
        data = InMemory(images.float().div_(127.5).sub_(1.0) if as_floats else images)
        while pace.goes_on():
            (batch,) = data.__getitems__(torch.randint(HELD, (64,)).tolist())
            if not as_floats:
                batch.float().div_(127.5).sub_(1.0)

    about = "images held as uint8 and scaled when they are asked for, against floats, four times the memory; batch 64"
    return _comparison(about, partial(side, False), partial(side, True))


def _comparison(about: str, with_it: Side, without: Side) -> Comparison:
    return Comparison(about, {WITH: with_it, WITHOUT: without}, {WITH: WITHOUT})


FINDS: dict[str, Callable[[], Comparison]] = {
    **{f"without_{name}": partial(removed, name) for name in WITHOUT_IT},
    "without_uint8": uint8,
    **{f"compiled_{name}": partial(compiled, name) for name in ("dcgan", "wgan_gp", "cgan")},
    **{f"bf16_{name}": partial(bfloat16, name) for name in ("dcgan", "wgan_gp", "cyclegan")},
}
