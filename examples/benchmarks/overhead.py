"""What the engine costs: DCGAN under Lightning's Trainer against a hand-written loop, in pairs.

Both sides play the same game with the same networks, optimizers, batches and memory format, and both reuse the fakes
between the two moves and freeze the resting player, so that the difference is the machinery alone: Lightning's loop and
hooks, the loss ledger, the CSV logger, and in the second row the moving average of the generator.

    python examples/benchmarks/overhead.py
"""

from __future__ import annotations

import argparse
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torch.utils.data import DataLoader

from datamodules.in_memory import InMemory
from gan_modules import DCGAN

SHAPE, CHANNELS, BATCH, LATENT = (3, 32, 32), 32, 64, 100
WARM_UP = 10  # rounds before the clock starts, on both sides


class Clock(Callback):
    """Time from the end of the warm-up to the last round."""

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int) -> None:
        if trainer.global_step == WARM_UP:
            self.start = time.perf_counter()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.seconds = time.perf_counter() - self.start


def batches(rounds: int) -> DataLoader[tuple[Tensor, ...]]:
    images = torch.randint(0, 256, (rounds * BATCH, *SHAPE), dtype=torch.uint8)
    return DataLoader(InMemory(images), batch_size=BATCH, collate_fn=scaled)


def scaled(batch: tuple[Tensor, ...]) -> Tensor:
    return batch[0].float().div_(127.5).sub_(1.0)


def bare_loop(loader: DataLoader[tuple[Tensor, ...]]) -> float:
    model = DCGAN(SHAPE, base_channels=CHANNELS, ema_half_life=0)
    generator, discriminator = model.generator, model.discriminator
    adam_g = torch.optim.Adam(generator.parameters(), 2e-4, (0.5, 0.999), fused=True)
    adam_d = torch.optim.Adam(discriminator.parameters(), 2e-4, (0.5, 0.999), fused=True)
    ones, zeros = torch.ones(BATCH, 1), torch.zeros(BATCH, 1)
    start = 0.0
    for index, batch in enumerate(loader):
        if index == WARM_UP:
            start = time.perf_counter()
        real = batch.contiguous(memory_format=torch.channels_last)
        fake = generator(torch.randn(BATCH, LATENT))
        adam_d.zero_grad()
        (bce(discriminator(real), ones) + bce(discriminator(fake.detach()), zeros)).backward()
        adam_d.step()
        adam_g.zero_grad()
        discriminator.requires_grad_(False)
        bce(discriminator(fake), ones).backward()
        discriminator.requires_grad_(True)
        adam_g.step()
    return time.perf_counter() - start


def under_trainer(loader: DataLoader[tuple[Tensor, ...]], ema_half_life: float) -> float:
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        Trainer(
            max_epochs=1,
            accelerator="cpu",
            logger=CSVLogger(folder),
            callbacks=[clock],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        ).fit(DCGAN(SHAPE, base_channels=CHANNELS, ema_half_life=ema_half_life), loader)
    return clock.seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=60, help="timed rounds in each run")
    parser.add_argument("--pairs", type=int, default=7, help="pairs of runs")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    loader = batches(args.rounds + WARM_UP)
    sides: dict[str, Callable[[], float]] = {
        "Trainer": lambda: under_trainer(loader, 0),
        "Trainer with EMA": lambda: under_trainer(loader, 10_000),
    }
    print(f"torch {torch.__version__}, {platform.machine()}, {args.threads} threads; {args.rounds} rounds a run")
    for name, run in sides.items():
        pairs = list(measure(run, loader, args.pairs))
        ratios = [ours / bare for ours, bare in pairs]
        bare = statistics.median(bare for _, bare in pairs) / args.rounds * 1000
        print(
            f"{name:<17} / bare loop: median {statistics.median(ratios):.3f} "
            f"(min {min(ratios):.3f}, max {max(ratios):.3f}); bare loop {bare:.1f} ms a round"
        )


def measure(
    run: Callable[[], float], loader: DataLoader[tuple[Tensor, ...]], pairs: int
) -> Iterator[tuple[float, float]]:
    """Alternate which side goes first, so that a drift of the machine's speed favours neither."""
    for index in range(pairs):
        if index % 2:
            bare, ours = bare_loop(loader), run()
        else:
            ours, bare = run(), bare_loop(loader)
        yield ours, bare


if __name__ == "__main__":
    main()
