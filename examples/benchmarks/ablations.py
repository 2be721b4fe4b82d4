"""What each of the means to speed gives: Trainer with it, as the library is, and without it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor

from datamodules.in_memory import InMemory
from examples.benchmarks.games import GAMES, under_trainer
from examples.benchmarks.pairs import Comparison, Pace, Side
from gan_modules import DCGAN, GAN, WGANGP, VanillaGAN
from gan_modules.engine.ema import MovingAverages
from gan_modules.engine.players import Losses
from gan_modules.families.latent import Deal
from gan_modules.functional import losses, regularizers

WITH, WITHOUT = "with", "without"
HELD = 50_000  # images in memory


class FreshFakes(DCGAN):
    """The generator's move makes images of its own."""

    def deal(self, batch: Sequence[Tensor], movers: Sequence[str]) -> Sequence[tuple[Deal, float]]:
        real = batch[0].contiguous(memory_format=torch.channels_last)
        return [(Deal(real, (), torch.randn(len(real), self.latent_dim, device=self.device)), 1.0)]


class NobodyRests(DCGAN):
    """Gradients are computed for the player who rests, too."""

    @contextmanager
    def _only_moving(self, name: str) -> Iterator[None]:
        yield


class ChannelsFirst(DCGAN):
    """Channels before pixels, PyTorch's own order."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.to(memory_format=torch.contiguous_format)

    def deal(self, batch: Sequence[Tensor], movers: Sequence[str]) -> Sequence[tuple[Deal, float]]:
        latents = torch.randn(len(batch[0]), self.latent_dim, device=self.device)
        return [(Deal(batch[0], (), latents, self.generator(latents)), 1.0)]


class OwnAdam(DCGAN):
    """Adam as PyTorch makes it where nothing is said."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._optimizer_g = self._optimizer_d = partial(torch.optim.Adam, lr=2e-4, betas=(0.5, 0.999))


class OneByOne(MovingAverages):
    """An average that moves tensor by tensor."""

    @torch.no_grad()
    def update(self, images_seen: int) -> None:
        for average, network in self._pairs:
            ours, theirs = ([*module.parameters(), *module.buffers()] for module in (average, network))
            for own, new in zip(ours, theirs, strict=True):
                if own.is_floating_point():
                    own.lerp_(new, 0.001)
                else:
                    own.copy_(new)


class AveragedOneByOne(DCGAN):
    """With such an average."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._averages = OneByOne(self._averages.half_life)
        self.generator_ema = self._averages.follow(self.generator)


class WholeBackward(WGANGP):
    """A penalty whose backward passes the whole critic, since a division is not in the list of what is straight."""

    def discriminator_losses(self, real: Tensor, fake: Tensor) -> Losses:
        penalty = regularizers.gradient_penalty(lambda samples: self.discriminator(samples) / 1, real, fake)
        critic = losses.wasserstein_d(self.discriminator(real), self.discriminator(fake))
        return {"critic": critic, "gradient_penalty": self.gp_weight * penalty}


class GatheredByLightning(VanillaGAN):
    """The losses that are logged are handed to Lightning, which gathers them in every batch."""

    def _log_losses(self) -> None:
        super()._log_losses()
        shown = self.trainer.progress_bar_metrics
        self.log_dict({name: torch.tensor(loss) for name, loss in shown.items()}, prog_bar=True, logger=False)


class LoggedByLightning(VanillaGAN):
    """`self.log` after each move."""

    def after_update(self, name: str) -> None:
        (loss,) = self._ledger._latest[name].terms.values()
        self.log(f"{name}/logged", loss)


class Heard(VanillaGAN):
    """Somebody listens to Lightning's hooks around each backward and step."""

    def on_after_backward(self) -> None:
        pass


class CountsTheGPUs(VanillaGAN):
    """The optimizers look for GPUs before each step, as Lightning has them do it."""

    def on_train_start(self) -> None:
        super().on_train_start()
        for optimizer in self.trainer.optimizers:
            vars(optimizer).pop("_accelerator_graph_capture_health_check", None)


# By name: the variant without the means, the game of the table that it plays, and what stands in the table
WITHOUT_IT: dict[str, tuple[type[GAN], str, str]] = {
    "fakes": (FreshFakes, "dcgan", "fakes of a batch made once, against anew for the generator's move"),
    "resting": (NobodyRests, "dcgan", "the resting player frozen"),
    "channels_last": (ChannelsFirst, "dcgan", "channels_last"),
    "fused": (OwnAdam, "dcgan", "Adam fused"),
    "average": (AveragedOneByOne, "dcgan", "the moving average of all tensors by one operation, half-life 10,000"),
    "curvature": (WholeBackward, "wgan_gp", "the second derivative skipped that a straight critic does not have"),
    "logging": (LoggedByLightning, "points", "losses logged every 50 rounds, against `self.log` in each move"),
    "hooks": (Heard, "points", "Lightning's hooks around backward and step left out where nobody listens"),
    "gathering": (GatheredByLightning, "points", "losses given to the progress bar directly, against `self.log_dict`"),
    "count": (CountsTheGPUs, "points", "no look for GPUs before each step of a CPU's optimizers"),
}


def removed(name: str) -> Comparison:
    """A game under Trainer with one of the means, and by a variant of the model without it."""
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
    """A game with `compile=True`."""
    build, batch_size, about = GAMES[name]
    with_it = under_trainer(partial(build, compile=True), batch_size)
    return _comparison(f"compile=True; {about}", with_it, under_trainer(build, batch_size))


def bfloat16(name: str) -> Comparison:
    """A game in mixed precision."""
    build, batch_size, about = GAMES[name]
    with_it = under_trainer(build, batch_size, "bf16-mixed")
    return _comparison(f"precision bf16-mixed; {about}", with_it, under_trainer(build, batch_size))


def uint8() -> Comparison:
    """Batches of 64 images out of memory, held as bytes and scaled as a batch, or held as floats."""

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
