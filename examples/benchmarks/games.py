"""Each model under Lightning's Trainer against a loop written by hand over the same networks and losses.

The loops do what a careful user would: networks and images in channels_last where the model has them so, fused
optimizers, the fakes of a batch made once, the other player frozen. What the Trainer does besides is the machinery:
Lightning's loop and hooks, the log of losses and its check, CSV logs every 50 steps, a progress bar.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torch.optim import Optimizer

from examples.benchmarks.pairs import Batch, Batches, Comparison, Pace, Side
from gan_modules import CGAN, DCGAN, GAN, WGAN, WGANGP, CycleGAN, Pix2Pix, StyleGAN, StyleGAN2, VanillaGAN
from gan_modules.engine.allocator import keep_freed_memory
from gan_modules.engine.inputs import Inputs
from gan_modules.engine.players import Phase
from gan_modules.families.latent import LatentGAN
from gan_modules.families.style import StyleBasedGAN
from gan_modules.families.translation import TranslationGAN

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
HELD = 10  # batches that lie ready
STYLE_WIDTHS = {"channel_base": 1024, "channel_max": 64}


# By name: the model, its batch size, and what stands in the table
GAMES: dict[str, tuple[Callable[..., GAN], int, str]] = {
    "points": (
        partial(VanillaGAN, point_shape=(2,), latent_dim=2, hidden_dim=64),
        64,
        "VanillaGAN on points, 64 hidden units, batch 64: a game of two milliseconds",
    ),
    "vanilla": (partial(VanillaGAN, (1, 32, 32)), 64, "VanillaGAN, 32 pixels, batch 64"),
    "dcgan": (partial(DCGAN, (3, 32, 32), base_channels=32), 64, "DCGAN, 32 pixels, 32 channels, batch 64"),
    "wgan": (
        partial(WGAN, (3, 32, 32), base_channels=32),
        64,
        "WGAN, 32 pixels, 32 channels, batch 64, five updates of the critic",
    ),
    "wgan_gp": (
        partial(WGANGP, (3, 32, 32), base_channels=32),
        16,
        "WGANGP, 32 pixels, ResNets of 32 channels, batch 16, five updates of the critic",
    ),
    "cgan": (partial(CGAN, (1, 32, 32), 10), 64, "CGAN, 32 pixels, 10 classes, batch 64"),
    "pix2pix": (
        partial(Pix2Pix, (3, 64, 64), base_channels=16, discriminator_channels=16),
        4,
        "Pix2Pix, 64 pixels, U-Net of 16 channels, batch 4",
    ),
    "cyclegan": (
        partial(CycleGAN, (3, 32, 32), generator="resnet_6", base_channels=16, discriminator_channels=16),
        1,
        "CycleGAN, 32 pixels, ResNets of 6 blocks and 16 channels, batch 1",
    ),
    "stylegan": (
        partial(StyleGAN, (3, 32, 32), first_size=32, latent_dim=128, style_dim=128, **STYLE_WIDTHS),
        16,
        "StyleGAN, grown to 32 pixels, at most 64 channels, batch 16, R1 in every step",
    ),
    "stylegan2": (
        partial(StyleGAN2, (3, 32, 32), latent_dim=128, style_dim=128, mapping_layers=2, **STYLE_WIDTHS),
        16,
        "StyleGAN2, 32 pixels, at most 64 channels, batch 16, path lengths in every 4th and R1 in every 16th step; the "
        "table counts by 16 steps",
    ),
}
PERIODS = {"stylegan2": 16}  # steps after which the phases repeat


def game(name: str) -> Comparison:
    """Compare a model under Trainer, with and without the moving average, with the loop."""
    build, batch_size, about = GAMES[name]
    of = PERIODS.get(name, 1)
    return Comparison(
        about,
        {
            "loop by hand": by_hand(build, batch_size, of),
            "Trainer": under_trainer(build, batch_size, of=of, ema_half_life=0),
            "Trainer, EMA": under_trainer(build, batch_size, of=of, ema_half_life=10_000),
        },
        {"Trainer": "loop by hand", "Trainer, EMA": "Trainer"},
    )


def allocator(name: str) -> Comparison:
    """Compare a model under Trainer with the C library's defaults and with the command line's settings."""
    build, batch_size, about = GAMES[name]
    side = under_trainer(build, batch_size)

    def keeping(pace: Pace) -> None:
        keep_freed_memory()
        side(pace)

    return Comparison(about, {"glibc's defaults": side, "memory kept": keeping}, {"memory kept": "glibc's defaults"})


def under_trainer(
    build: Callable[..., GAN], batch_size: int, precision: str = "32-true", of: int = 1, **options: float
) -> Side:
    """Return the side that trains a model by the engine; a block counts groups `of` that many steps."""

    def run(pace: Pace) -> None:
        model = build(**options)
        Trainer(
            max_epochs=1,
            accelerator="auto",
            devices=1,
            precision=precision,  # type: ignore[arg-type]
            logger=CSVLogger("."),
            enable_model_summary=False,
        ).fit(model, Batches(pace, made_up(model, batch_size), of * batches_per_step(model)))

    return run


def by_hand(build: Callable[..., GAN], batch_size: int, of: int = 1) -> Side:
    """Return the side that trains a model by one of the loops below; a block counts groups `of` that many steps."""

    def run(pace: Pace) -> None:
        model = build(ema_half_life=0).to(DEVICE)
        ready = Batches(pace, made_up(model, batch_size), of * batches_per_step(model))
        batches = (tuple(t.to(DEVICE) for t in batch) for batch in ready)
        if isinstance(model, DCGAN):
            dcgan_by_hand(model, batches)
        elif isinstance(model, LatentGAN) and not isinstance(model, StyleBasedGAN):
            latent_by_hand(model, batches)
        else:
            with DEVICE:
                phases_by_hand(model, batches)

    return run


def made_up(model: GAN, batch_size: int) -> list[Batch]:
    """Return batches that a model takes."""
    tensors: list[Tensor] = []
    if isinstance(model, TranslationGAN):
        tensors += [random_samples(batch_size, shape) for shape in (model.image_shape, model.target_shape)]
    elif isinstance(model, LatentGAN):
        tensors.append(random_samples(batch_size, model.sample_shape))
        if model.num_classes:
            tensors.append(torch.randint(model.num_classes, (HELD, batch_size)))
    return list(zip(*tensors, strict=True))


def random_samples(batch_size: int, shape: Sequence[int]) -> Tensor:
    """Return uniform noise in [-1, 1] for all batches, ``(HELD, batch_size, *shape)``."""
    return torch.rand(HELD, batch_size, *shape) * 2 - 1


def dcgan_by_hand(model: DCGAN, batches: Iterable[Batch]) -> None:
    """Play the paper's loop without a line of ours but the two networks."""
    generator, discriminator = model.generator, model.discriminator
    adam_g = torch.optim.Adam(generator.parameters(), 2e-4, (0.5, 0.999), fused=True)
    adam_d = torch.optim.Adam(discriminator.parameters(), 2e-4, (0.5, 0.999), fused=True)
    for (real,) in batches:
        ones, zeros = real.new_ones(len(real), 1), real.new_zeros(len(real), 1)
        fake = generator(torch.randn(len(real), model.latent_dim, device=DEVICE))
        adam_d.zero_grad()
        real = real.contiguous(memory_format=torch.channels_last)
        (bce(discriminator(real), ones) + bce(discriminator(fake.detach()), zeros)).backward()
        adam_d.step()
        adam_g.zero_grad()
        discriminator.requires_grad_(False)
        bce(discriminator(fake), ones).backward()
        discriminator.requires_grad_(True)
        adam_g.step()


def latent_by_hand(model: LatentGAN, batches: Iterable[Batch]) -> None:
    """Play the alternating loop on a model's own networks and losses."""
    generator, discriminator = model.generator, model.discriminator
    optimizers = optimizers_of(model)
    n_critic = batches_per_step(model)
    for number, (real, *labels) in enumerate(batches, 1):
        condition, both = tuple(labels), number % n_critic == 0
        if real.ndim == 4:
            real = real.contiguous(memory_format=torch.channels_last)
        with torch.set_grad_enabled(both):
            fake = generator(torch.randn(len(real), model.latent_dim, device=DEVICE), *condition)
        update(optimizers["discriminator"], model.discriminator_losses(inputs(real, condition, fake.detach())))
        if isinstance(model, WGAN):
            with torch.no_grad():
                for parameter in discriminator.parameters():
                    parameter.clamp_(-model.clip, model.clip)
        if both:
            discriminator.requires_grad_(False)
            update(optimizers["generator"], model.generator_losses(inputs(real, condition, fake)))
            discriminator.requires_grad_(True)


def inputs(real: Tensor, condition: tuple[Tensor, ...], fake: Tensor) -> Inputs:
    """Return what an objective is given, with these very fakes."""
    given = Inputs(real, condition, generate=lambda _: fake)
    given.begin_phase(trains_maker=True)
    return given


def phases_by_hand(model: GAN, batches: Iterable[Batch]) -> None:
    """Play the phases of a model, and nothing else."""
    optimizers = optimizers_of(model)
    for phase, given in phases_played(model, batches):
        update(optimizers[phase.player], phase.objective(given))


def phases_played(model: GAN, batches: Iterable[Batch]) -> Iterator[tuple[Phase, Inputs]]:
    """Yield each phase with what its objective is given, while the parameters of the other players are frozen."""
    phases = model.phases()
    owned = {name: player.parameters() for name, player in model.players().items()}
    step, played = 0, 0
    for batch in batches:
        shared = model.inputs(batch)
        made_by = [p for module in shared.maker for p in module.parameters()]
        of_maker = {id(p) for p in made_by}
        makers = {name for name, parameters in owned.items() if any(id(p) in of_maker for p in parameters)}
        length = max(phase.batches(step) for phase in phases)
        due = [phase for phase in phases if played >= length - phase.batches(step)]
        for index, phase in enumerate(due):
            for name, parameters in owned.items():
                for parameter in parameters:
                    parameter.requires_grad_(name == phase.player)
            given = shared.redraw() if phase.fresh else shared
            is_needed = any(other.player in makers and not other.fresh for other in due[index + 1 :])
            given.begin_phase(phase.player in makers, made_by if is_needed else ())
            yield phase, given
            given.end_phase()
        played += 1
        if played == length:
            step, played = step + 1, 0


def batches_per_step(model: GAN) -> int:
    """Return the batches of a step without lazy phases."""
    return max(phase.batches(1) for phase in model.phases())


def optimizers_of(model: GAN) -> dict[str, Optimizer]:
    """Return the players' optimizers by name."""
    return {name: player.optimizer(player.parameters()) for name, player in model.players().items()}


def update(optimizer: Optimizer, losses: dict[str, Tensor]) -> None:
    """Take one step down the sum of the losses."""
    optimizer.zero_grad()
    torch.stack(list(losses.values())).sum().backward()
    optimizer.step()
