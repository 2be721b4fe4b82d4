"""Image to image on tasks whose truth is known, minutes on a CPU each.

    python examples/benchmarks/translation.py pix2pix emoji/google emoji/twitter runs/pix2pix
    python examples/benchmarks/translation.py cyclegan runs/cyclegan

The first learns from pairs of like-named images in two folders, and is measured on a fifth of them that it has not
seen. The second learns from scikit-learn's digits and other digits, inverted and tinted, that are not the same ones;
it is measured on a fifth of which it has seen neither. Both print their errors beside those of trivial answers, and
leave a grid of held-out images: input, output, truth, and for CycleGAN the way back.
"""

import argparse
import time
from pathlib import Path

import torch
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.loggers import CSVLogger
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn.functional import interpolate, l1_loss
from torchmetrics.functional.image import structural_similarity_index_measure
from torchvision.io import write_png

from datamodules import PairedImagesDataModule, UnpairedImagesDataModule
from gan_modules import CycleGAN, Pix2Pix
from gan_modules.visuals.pictures import image_grid

PAPER, INK = torch.tensor([[1.0, 0.85, 0.3], [0.1, 0.1, 0.5]])[:, :, None, None]  # the tinted digits' colours


def pix2pix(inputs: Path, targets: Path, out: Path, epochs: int) -> None:
    data = PairedImagesDataModule(
        str(inputs), str(targets), image_size=64, load_size=68, val_fraction=0.2, batch_size=16, num_workers=0
    )
    model = Pix2Pix(
        image_shape=data.spec["image_shape"],
        base_channels=32,
        discriminator_channels=32,
        patch_layers=2,
        epochs_constant=epochs // 2,
        epochs_decay=epochs - epochs // 2,
    )
    minutes = fit(model, data, out, epochs)
    a, b = held_out(data)
    mean = torch.cat([data.on_after_batch_transfer(batch, 0)[1] for batch in data.train_dataloader()]).mean(0)
    print(f"{len(a)} held-out pairs after {epochs} epochs, {model.images_seen} pairs, {minutes:.1f} minutes")
    print(f"{'':<26} {'L1':>7} {'SSIM':>7}   (images in [0, 1])")
    report("the input itself", a, b)
    report("the mean target", mean.expand_as(b), b)
    outputs = model.translate(a)
    report("Pix2Pix", outputs, b)
    report("Pix2Pix, as published", model.translate(a, stochastic=True, seed=0), b)
    shown = torch.linspace(0, len(a) - 1, 32).long()
    grid([a[shown], outputs[shown], b[shown]], out / "grid.png")
    model.trainer.save_checkpoint(out / "last.ckpt")


def cyclegan(out: Path, epochs: int) -> None:
    greys = interpolate(torch.from_numpy(load_digits().images)[:, None].float() / 16, (32, 32), mode="bilinear")
    greys = greys[torch.randperm(len(greys), generator=torch.Generator().manual_seed(0))]
    parts = {"trainA": greys[:720], "trainB": greys[720:1440], "testA": greys[1440:], "testB": greys[1440:]}
    for part, digits in parts.items():
        (out / "data" / part).mkdir(parents=True, exist_ok=True)
        images = (tinted(digits) if part.endswith("B") else digits.expand(-1, 3, -1, -1)).mul(255).round().byte()
        for number, image in enumerate(images):
            write_png(image, str(out / "data" / part / f"{number:04d}.png"))
    data = UnpairedImagesDataModule(
        str(out / "data"), image_size=32, load_size=32, horizontal_flip=False, batch_size=4, num_workers=0
    )
    model = CycleGAN(
        image_shape=data.spec["image_shape"],
        base_channels=16,
        discriminator_channels=32,
        patch_layers=2,
        epochs_constant=epochs // 2,
        epochs_decay=epochs - epochs // 2,
    )
    sides = dict(zip(("AtoB", "BtoA"), held_out(data), strict=True))
    truths = dict(zip(sides, reversed(sides.values()), strict=True))
    before = {direction: model.translate(images, direction) for direction, images in sides.items()}
    minutes = fit(model, data, out, epochs)
    print(f"{len(truths['AtoB'])} held-out digits after {epochs} epochs, {minutes:.1f} minutes")
    print(f"{'':<26} {'L1':>7} {'SSIM':>7}   (images in [0, 1])")
    for direction, images in sides.items():
        output = model.translate(images, direction)
        truth = truths[direction]
        report(f"{direction}: the input itself", images, truth)
        report(f"{direction}: the mean image", truth.mean(0).expand_as(truth), truth)
        report(f"{direction}: before training", before[direction], truth)
        report(f"{direction}: CycleGAN", output, truth)
        inverted = (output + truth).abs().flatten(1).mean(1) < (output - truth).abs().flatten(1).mean(1)
        print(f"{'':<26} {int(inverted.sum())} of {len(truth)} nearer to the inverted truth than to the truth")
        back = model.translate(output, "BtoA" if direction == "AtoB" else "AtoB")
        grid([t[:32] for t in (images, output, truth, back)], out / f"grid_{direction}.png")
    model.trainer.save_checkpoint(out / "last.ckpt")


def tinted(greys: Tensor) -> Tensor:
    """Dark ink on yellow paper for greys ``(N, 1, H, W)`` in [0, 1], white on black."""
    return PAPER + (INK - PAPER) * greys


def fit(
    model: Pix2Pix | CycleGAN, data: PairedImagesDataModule | UnpairedImagesDataModule, out: Path, epochs: int
) -> float:
    """Train, and return the minutes it took."""
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=CSVLogger(out, name="", version=""),
        enable_checkpointing=False,
        enable_progress_bar=False,
        limit_val_batches=0,
    )
    start = time.perf_counter()
    trainer.fit(model, data)
    return (time.perf_counter() - start) / 60


def held_out(data: PairedImagesDataModule | UnpairedImagesDataModule) -> tuple[Tensor, Tensor]:
    """All validation images of both sides, in [-1, 1]."""
    a, b = zip(*(data.on_after_batch_transfer(batch, 0) for batch in data.val_dataloader()), strict=True)
    return torch.cat(a), torch.cat(b)


def report(name: str, images: Tensor, truth: Tensor) -> None:
    """Print the error of images in [-1, 1] as it is of images in [0, 1]."""
    similarity = structural_similarity_index_measure(images.contiguous(), truth, data_range=2.0)
    print(f"{name:<26} {l1_loss(images, truth) / 2:7.4f} {similarity:7.4f}")


def grid(columns: list[Tensor], path: Path) -> None:
    """Write images ``(N, C, H, W)`` a column, of two rows of columns side by side."""
    rows = torch.stack(columns, dim=1).flatten(0, 1)
    write_png(image_grid(rows, nrow=4 * len(columns)), str(path))
    print(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    tasks = parser.add_subparsers(dest="task", required=True)
    of_pairs, of_digits = tasks.add_parser("pix2pix"), tasks.add_parser("cyclegan")
    of_pairs.add_argument("inputs", type=Path)
    of_pairs.add_argument("targets", type=Path)
    for task, default in ((of_pairs, 6), (of_digits, 16)):
        task.add_argument("out", type=Path)
        task.add_argument("--epochs", type=int, default=default)
    arguments = vars(parser.parse_args())
    seed_everything(0)
    globals()[arguments.pop("task")](**arguments)
