"""Images of two domains, without pairs."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
from torch import Tensor

from .base import Batch, BatchedDataset, require
from .image_files import SUFFIXES, list_images, pixels, read_image
from .in_memory import split_indices
from .layout import Split, split_named
from .published_datasets import UNPAIRED_SETS
from .two_domains import Jitter, Size, TwoDomainDataModule, as_shape, resolve_load_size
from .unreadable import SkipUnreadable


class UnpairedImages(BatchedDataset):
    """Batches ``(a, b)`` of uint8 images ``(N, C, H, W)`` of two domains that are not paired.

    In training, each image of the larger domain comes with a random one of the other, another in every epoch. In
    validation, every image comes once, in order: the last batches hold fewer images of the smaller domain, or none.

    Args:
        paths: Files of the two domains.
        channels: Channels of the two domains.
        jitters: Transforms of the images of the two domains.
        training: Whether to pair at random.
        skip_unreadable: Whether to replace an image that cannot be read by the next one of its domain that can.
    """

    def __init__(
        self,
        paths: tuple[Sequence[str], Sequence[str]],
        channels: tuple[int, int],
        jitters: tuple[Jitter, Jitter],
        training: bool,
        skip_unreadable: bool = False,
    ) -> None:
        self.paths = paths
        self.channels = channels
        self.jitters = jitters
        self.training = training
        self.readers = [SkipUnreadable(domain, skip_unreadable) for domain in paths]

    def __len__(self) -> int:
        return max(map(len, self.paths))

    @property
    def skipped(self) -> list[str]:
        """The files that could not be read so far."""
        return [path for reader in self.readers for path in reader.skipped]

    def __getitems__(self, indices: list[int]) -> Batch:
        larger = 0 if len(self.paths[0]) >= len(self.paths[1]) else 1
        batch = []
        for domain, paths in enumerate(self.paths):
            if not self.training:
                chosen = [index for index in indices if index < len(paths)]
            elif domain == larger:
                chosen = indices
            else:
                chosen = torch.randint(len(paths), (len(indices),)).tolist()
            batch.append(self._images(domain, chosen))
        return tuple(batch)

    def _images(self, domain: int, indices: Sequence[int]) -> Tensor:
        paths, channels, jitter = self.paths[domain], self.channels[domain], self.jitters[domain]
        read = self.readers[domain].read
        found = [read(index, lambda candidate: read_image(paths[candidate], channels))[0] for index in indices]
        images = [pixels(jitter([image])[0], channels) for image in found]
        return torch.stack(images) if images else torch.empty(0, channels, *jitter.size, dtype=torch.uint8)


class UnpairedImagesDataModule(TwoDomainDataModule):
    """Images of two domains, for CycleGAN: folders ``trainA``, ``trainB`` and maybe ``valA``, ``testA`` and so on.

    Batches are ``(a, b)``, paired at random in every epoch, which is as long as the larger domain. As published
    (arXiv:1703.10593), a training image is resized to somewhat more than its size, cropped at random and mirrored at
    random; proportions are not kept. Without ``valA`` and ``valB``, ``testA`` and ``testB`` validate too, and the other
    way round; without any of them, a share of each domain is held out. Names may be in upper or lower case.

    Args:
        folder: The folder that holds these.
        dataset: One of the published sets instead of `folder`'s own images: "horse2zebra", "apple2orange",
            "summer2winter_yosemite", "monet2photo", "cezanne2photo", "ukiyoe2photo", "vangogh2photo", "maps",
            "cityscapes", "facades", "iphone2dslr_flower". It is downloaded to ``folder/dataset`` if it is not there.
        image_size: Side, or height and width, of domain A's images (pixels).
        target_size: The same of domain B's; by default `image_size`.
        load_size: Side, or height and width, of domain A's images before the random crop; by default 286/256 of
            `image_size`, and `image_size` itself for no crop. Domain B's are enlarged in the same proportion.
        channels: Channels of domain A: 1 (grey), 3 (RGB) or 4 (RGBA).
        target_channels: Channels of domain B; by default the same.
        horizontal_flip: Whether to mirror every second training image, at random.
        skip_unreadable: Whether to replace an image that cannot be read by the next one, with a warning and a count at
            the end, instead of stopping.
        val_fraction: Share of each domain held out where there is nothing to validate or test on.
        batch_size: Images of each domain in a batch, in each process.
        num_workers: Processes that load data besides the main one.
        seed: Seed of the split and of the order of the training data.

    Raises:
        DataError: If an argument is out of range, a set cannot be downloaded, a domain is missing or empty, or, while a
            batch is loaded, an image cannot be read.

    Example:
        >>> UnpairedImagesDataModule("horses_and_zebras", image_size=128, target_size=(64, 96)).target_shape
        (3, 64, 96)
    """

    sets = UNPAIRED_SETS

    def __init__(
        self,
        folder: str = "data",
        *,
        dataset: str | None = None,
        image_size: Size = 256,
        target_size: Size | None = None,
        load_size: Size | None = None,
        channels: int = 3,
        target_channels: int | None = None,
        horizontal_flip: bool = True,
        skip_unreadable: bool = False,
        val_fraction: float = 0.1,
        batch_size: int = 1,
        num_workers: int = 4,
        seed: int = 0,
    ) -> None:
        super().__init__(
            folder,
            dataset,
            as_shape(channels, image_size),
            as_shape(
                channels if target_channels is None else target_channels,
                image_size if target_size is None else target_size,
            ),
            horizontal_flip=horizontal_flip,
            skip_unreadable=skip_unreadable,
            val_fraction=val_fraction,
            batch_size=batch_size,
            num_workers=num_workers,
            seed=seed,
        )
        loaded = resolve_load_size(image_size, load_size)
        (_, height, width), (_, target_height, target_width) = self.image_shape, self.target_shape
        enlarged = (round(target_height * loaded[0] / height), round(target_width * loaded[1] / width))
        self._load_sizes = (loaded, enlarged)

    def load(self) -> tuple[UnpairedImages, UnpairedImages, UnpairedImages]:
        """List the images of both domains."""
        files = [self._split(domain) for domain in "AB"]
        shapes = (self.image_shape, self.target_shape)

        def subset(part: int, training: bool) -> UnpairedImages:
            first, second = (
                Jitter(shape[1:], load_size, self.horizontal_flip) if training else Jitter(shape[1:])
                for shape, load_size in zip(shapes, self._load_sizes, strict=True)
            )
            paths = (files[0][part], files[1][part])
            channels = (shapes[0][0], shapes[1][0])
            return UnpairedImages(paths, channels, (first, second), training, self.skip_unreadable)

        return subset(0, training=True), subset(1, training=False), subset(2, training=False)

    def _split(self, domain: str) -> tuple[list[str], list[str], list[str]]:
        """Return the training, validation and test files of domain A or B."""
        files = _files(self.root, domain)
        train, val, test = files["train"], files["val"] or files["test"], files["test"] or files["val"]
        folder = os.path.join(self.root, f"train{domain}")
        require(bool(train), f"{folder} holds no image: put domain {domain}'s there ({' '.join(SUFFIXES)}).")
        if val:
            return train, val, test
        rows, held_out = split_indices(len(train), self.val_fraction, torch.Generator().manual_seed(self.seed))
        require(
            len(rows) > 0,
            f"{folder} has too few images to hold some out: bring more, lower val_fraction or add test{domain}.",
        )
        val = [train[row] for row in held_out.tolist()]
        return [train[row] for row in rows.tolist()], val, val


def _files(root: str, domain: str) -> dict[Split, list[str]]:
    """Return the files of domain A or B by their split: those of trainA, val_A, TestA and so on."""
    files: dict[Split, list[str]] = {"train": [], "val": [], "test": []}
    for name in sorted(os.listdir(root)) if os.path.isdir(root) else []:
        folder = os.path.join(root, name)
        split = split_named(name[:-1].rstrip("_-"))
        if split is not None and name[-1:].upper() == domain and os.path.isdir(folder):
            files[split] += [os.path.join(folder, image) for image in list_images(folder)]
    return files
