"""Each variant under Lightning's Trainer against a loop written by hand over the same networks and losses.

The loops do what a careful user would: networks and images in channels_last where the variant has them so, fused
optimizers, the fakes of a batch made once, the resting player frozen. What the Trainer does besides is the machinery:
Lightning's loop and hooks, the ledger of losses and its check, CSV logs every 50 rounds, a progress bar.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
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
from gan_modules.families.latent import LatentGAN
from gan_modules.families.style import StyleBasedGAN
from gan_modules.families.translation import Pair, TranslationGAN

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
HELD = 10  # batches that lie ready
STYLE_WIDTHS = {"channel_base": 1024, "channel_max": 64}


# By name: the model, its batch size, and what stands in the table
GAMES: dict[str, tuple[Callable[..., GAN], int, str]] = {
    "points": (
        partial(VanillaGAN, (2,), latent_dim=2, hidden_dim=64),
        64,
        "VanillaGAN on points, 64 hidden units, batch 64: a game of two milliseconds",
    ),
    "vanilla": (partial(VanillaGAN, (1, 32, 32)), 64, "VanillaGAN, 32 pixels, batch 64"),
    "dcgan": (partial(DCGAN, (3, 32, 32), base_channels=32), 64, "DCGAN, 32 pixels, 32 channels, batch 64"),
    "wgan": (
        partial(WGAN, (3, 32, 32), base_channels=32),
        64,
        "WGAN, 32 pixels, 32 channels, batch 64, five moves of the critic",
    ),
    "wgan_gp": (
        partial(WGANGP, (3, 32, 32), base_channels=32),
        16,
        "WGANGP, 32 pixels, ResNets of 32 channels, batch 16, five moves of the critic",
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
        "StyleGAN, grown to 32 pixels, at most 64 channels, batch 16, R1 in every round",
    ),
    "stylegan2": (
        partial(StyleGAN2, (3, 32, 32), latent_dim=128, style_dim=128, mapping_layers=2, **STYLE_WIDTHS),
        16,
        "StyleGAN2, 32 pixels, at most 64 channels, batch 16, path lengths in every 4th and R1 in every 16th of its "
        "rounds, which the table counts by 16",
    ),
}
PERIODS = {"stylegan2": 16}  # rounds after which a game is back where it was


def game(name: str) -> Comparison:
    """A variant under Trainer, with and without the moving average, against the loop."""
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
    """A variant under Trainer with the C library's defaults, and as the command line sets it up."""
    build, batch_size, about = GAMES[name]
    side = under_trainer(build, batch_size)

    def keeping(pace: Pace) -> None:
        keep_freed_memory()
        side(pace)

    return Comparison(about, {"glibc's defaults": side, "memory kept": keeping}, {"memory kept": "glibc's defaults"})


def under_trainer(
    build: Callable[..., GAN], batch_size: int, precision: str = "32-true", of: int = 1, **options: float
) -> Side:
    """The side that plays a model's game by the engine, in rounds or in groups `of` them."""

    def run(pace: Pace) -> None:
        model = build(**options)
        Trainer(
            max_epochs=1,
            accelerator="auto",
            devices=1,
            precision=precision,  # type: ignore[arg-type]
            logger=CSVLogger("."),
            enable_model_summary=False,
        ).fit(model, Batches(pace, made_up(model, batch_size), of * len(model.turns(1))))

    return run


def by_hand(build: Callable[..., GAN], batch_size: int, of: int = 1) -> Side:
    """The side that plays a model's game in the fitting one of the loops below, in groups `of` rounds."""

    def run(pace: Pace) -> None:
        model = build(ema_half_life=0).to(DEVICE)
        ready = Batches(pace, made_up(model, batch_size), of * len(model.turns(1)))
        batches = (tuple(t.to(DEVICE) for t in batch) for batch in ready)
        if isinstance(model, DCGAN):
            dcgan_by_hand(model, batches)
        elif isinstance(model, TranslationGAN):
            translation_by_hand(model, batches)
        elif isinstance(model, StyleBasedGAN):
            style_by_hand(model, batches)
        elif isinstance(model, LatentGAN):
            latent_by_hand(model, batches)

    return run


def made_up(model: GAN, batch_size: int) -> list[Batch]:
    """Batches that a model takes."""
    shapes = [model.image_shape, *([model.target_shape] if isinstance(model, TranslationGAN) else [])]
    images = [torch.rand(HELD, batch_size, *shape) * 2 - 1 for shape in shapes]
    labels = [torch.randint(model.num_classes, (HELD, batch_size))] if model.num_classes else []
    return list(zip(*images, *labels, strict=True))


def dcgan_by_hand(model: DCGAN, batches: Iterable[Batch]) -> None:
    """The paper's loop without a line of ours but the two networks."""
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
    """The alternating loop over a variant's own networks and losses."""
    generator, discriminator = model.generator, model.discriminator
    optimizer_d, optimizer_g = optimizers(model)
    for number, (real, *condition) in enumerate(batches, 1):
        both = number % model.n_critic == 0
        if real.ndim == 4:
            real = real.contiguous(memory_format=torch.channels_last)
        with torch.set_grad_enabled(both):
            fake = generator(torch.randn(len(real), model.latent_dim, device=DEVICE), *condition)
        move(optimizer_d, model.discriminator_losses(real, fake.detach(), *condition))
        if isinstance(model, WGAN):
            with torch.no_grad():
                for parameter in discriminator.parameters():
                    parameter.clamp_(-model.clip, model.clip)
        if both:
            discriminator.requires_grad_(False)
            move(optimizer_g, model.generator_losses(fake, *condition))
            discriminator.requires_grad_(True)


def translation_by_hand(model: Pix2Pix | CycleGAN, batches: Iterable[Batch]) -> None:
    """The loop over pairs of images; CycleGAN's generators move before its discriminators."""
    players = model.configure_players()
    steps = list(zip(players.items(), optimizers(model), strict=True))
    for a, b in batches:
        pair = Pair({"AtoB": a, "BtoA": b})
        pair.fakes = {direction: net(pair.images[direction]) for direction, net in model.translators().items()}
        for (name, player), optimizer in steps:
            resting = [other.network for rival, other in players.items() if rival != name]
            for network in resting:
                network.requires_grad_(False)
            move(optimizer, player.objective(pair))
            for network in resting:
                network.requires_grad_(True)


def style_by_hand(model: StyleBasedGAN, batches: Iterable[Batch]) -> None:
    """The loop over moves that draw latents of their own, with the regularizers when they are due."""
    players = model.configure_players()
    steps = dict(zip(players, optimizers(model), strict=True))
    for number, batch in enumerate(batches):
        (moves,) = model.turns(number)
        ((part, _),) = model.deal(batch, moves)
        for name in moves:
            mover = name.partition("/")[0]
            for rival, player in players.items():
                player.network.requires_grad_(rival == mover)
            move(steps[mover], players[mover].objective_of(name)(part))


def optimizers(model: GAN) -> list[Optimizer]:
    """The variant's own, in the order of its players."""
    return [player.optimizer(list(player.network.parameters())) for player in model.configure_players().values()]


def move(optimizer: Optimizer, losses: dict[str, Tensor]) -> None:
    """One step down the sum of the losses."""
    optimizer.zero_grad()
    torch.stack(list(losses.values())).sum().backward()
    optimizer.step()
