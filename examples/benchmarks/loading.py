"""Images a second out of a folder of photographs, cut and resized to 64 pixels, as floats in [-1, 1].

torchvision's ImageFolder with Resize, CenterCrop, ToTensor and Normalize against our datamodules: files, the same files
packed, and the same images in memory. A step is one pass over the photographs; its loader starts with the pass.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder
from torchvision.io import encode_jpeg

from datamodules import ImageDataModule, ImageFolderDataModule
from datamodules.in_memory import InMemory
from examples.benchmarks.pairs import Comparison, Pace, Side

PHOTOGRAPHS = Path(__file__).parents[2] / "runs" / "benchmarks" / "photographs"
COUNT, SIZE, BATCH = 2048, 64, 64  # files of 178×218 pixels, as CelebA's are


class Memory(ImageDataModule):
    """As many images of noise in memory."""

    image_shape = (3, SIZE, SIZE)  # type: ignore[assignment]
    num_classes = 0  # type: ignore[assignment]

    def load(self) -> tuple[InMemory, InMemory, InMemory]:
        images = InMemory(torch.randint(256, (COUNT, *self.image_shape), dtype=torch.uint8))
        return images, images, images


def without_workers() -> Comparison:
    """All of them in one process."""
    photographs()
    sides = {
        "torchvision": passes(lambda: torchvision_loader(0)),
        "ImageFolderDataModule": ours(lambda: folder(0)),
        "ImageFolderDataModule, packed": ours(lambda: folder(0, pack=str(PHOTOGRAPHS.parent / "packs"))),
        "in memory": ours(lambda: Memory(batch_size=BATCH)),
    }
    about = f"{COUNT} JPEGs of 178 by 218 pixels to {SIZE}, batch {BATCH}, no workers"
    return Comparison(about, sides, dict.fromkeys(list(sides)[1:], "torchvision"), COUNT)


def with_workers() -> Comparison:
    """Those that read files, with two processes to help."""
    photographs()
    sides = {"torchvision": passes(lambda: torchvision_loader(2)), "ImageFolderDataModule": ours(lambda: folder(2))}
    about = f"{COUNT} JPEGs of 178 by 218 pixels to {SIZE}, batch {BATCH}, two workers"
    return Comparison(about, sides, {"ImageFolderDataModule": "torchvision"}, COUNT)


def folder(num_workers: int, pack: str | None = None) -> ImageFolderDataModule:
    # one file is held out; torchvision's last batch, which that one would be alone in, is dropped
    return ImageFolderDataModule(
        str(PHOTOGRAPHS), image_size=SIZE, batch_size=BATCH, num_workers=num_workers, pack=pack, val_fraction=1e-9
    )


def torchvision_loader(num_workers: int) -> DataLoader[tuple[Tensor, Tensor]]:
    steps = [transforms.Resize(SIZE), transforms.CenterCrop(SIZE), transforms.ToTensor()]
    normalize = transforms.Normalize([0.5] * 3, [0.5] * 3)
    dataset = ImageFolder(str(PHOTOGRAPHS), transforms.Compose([*steps, normalize]))
    return DataLoader(
        dataset, BATCH, shuffle=True, drop_last=True, num_workers=num_workers, persistent_workers=num_workers > 0
    )


def ours(build: Callable[[], ImageDataModule]) -> Side:
    """Passes over a datamodule's training images, floats as the device would see them."""

    def loader() -> Batches:
        data = build()
        data.prepare_data()
        return Batches(data)

    return passes(loader)


class Batches:
    """A datamodule's batches after their way to the device.

    Args:
        data: The datamodule.
    """

    def __init__(self, data: ImageDataModule) -> None:
        self.data = data
        self.loader = data.train_dataloader()

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        for batch in self.loader:
            yield self.data.on_after_batch_transfer(batch, 0)


def passes(build: Callable[[], Batches | DataLoader[tuple[Tensor, Tensor]]]) -> Side:
    """Whole passes over a loader, each a step."""

    def run(pace: Pace) -> None:
        loader = build()
        while pace.goes_on():
            seen = 0
            for images, *_ in loader:
                assert images.shape == (BATCH, 3, SIZE, SIZE)
                seen += len(images)
            assert seen == COUNT

    return run


def photographs() -> None:
    """Write the files, unless they are there: smooth colours with some grain, so that they compress as photographs."""
    if PHOTOGRAPHS.exists():
        return
    partial = PHOTOGRAPHS.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "all").mkdir(parents=True)
    generator = torch.Generator().manual_seed(0)
    for number in range(COUNT + 1):
        coarse = torch.rand(1, 3, 12, 10, generator=generator) * 255
        grain = torch.randn(1, 3, 218, 178, generator=generator) * 8
        image = interpolate(coarse, (218, 178), mode="bicubic") + grain
        encoded = encode_jpeg(image[0].clamp(0, 255).byte(), quality=90)
        (partial / "all" / f"{number:04d}.jpg").write_bytes(encoded.numpy().tobytes())
    partial.rename(PHOTOGRAPHS)
