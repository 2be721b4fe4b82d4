"""The family of translation games: images of one domain to images of another."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Unpack, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from gan_modules.engine.contexts import in_mode
from gan_modules.engine.game import GAN
from gan_modules.engine.inputs import Inputs, map_tensors
from gan_modules.engine.lightning_compat import is_attached
from gan_modules.engine.players import GameOptions
from gan_modules.engine.schedules import planned_epochs
from gan_modules.engine.seeds import check_seed
from gan_modules.errors import GANError
from gan_modules.families import batches
from gan_modules.families.data_spec import Kind, check_data_spec, data_spec
from gan_modules.functional.compiling import force_eager

TRANSLATE_CHUNK = 8  # images that `translate` makes at a time; its networks work at the images' full size
Direction = Literal["AtoB", "BtoA"]
REVERSE: dict[Direction, Direction] = {"AtoB": "BtoA", "BtoA": "AtoB"}


class TranslationGAN(GAN, ABC):
    """Images of domain A to images of domain B, and maybe back, from batches ``(a, b)`` of paired or unpaired images.

    A model gives its players, its phases and, by `translators`, its generators. Objectives get reals and fakes by
    direction: ``x.real["AtoB"]`` are the images of domain A, and ``x.fake["AtoB"]`` their translations. There is no
    moving average unless `ema_half_life` asks for one: the papers have none.

    Args:
        image_shape: ``(C, H, W)`` of domain A.
        target_shape: ``(C, H, W)`` of domain B; by default that of domain A.
        epochs_constant: Epochs at the full learning rates.
        epochs_decay: Epochs in which they then fall to 0 in a straight line, where they stay; `None` keeps them up.
        **options: See `GAN`.

    Raises:
        GANError: If an argument is out of its range.
    """

    kind: Kind = "image"

    def __init__(
        self,
        image_shape: Sequence[int],
        target_shape: Sequence[int] | None,
        epochs_constant: int = 0,
        epochs_decay: int | None = None,
        **options: Unpack[GameOptions],
    ) -> None:
        options.setdefault("ema_half_life", 0.0)
        super().__init__(**options)
        if epochs_constant < 0 or (epochs_decay is not None and epochs_decay < 0):
            raise GANError(f"{epochs_constant=} and {epochs_decay=} are numbers of epochs: neither can be negative.")
        self.image_shape = tuple(image_shape)
        self.target_shape = self.image_shape if target_shape is None else tuple(target_shape)
        if not len(self.image_shape) == len(self.target_shape) == 3:
            raise GANError(
                f"{type(self).__name__} translates images (C, H, W), not {self.image_shape} to {self.target_shape}: "
                f"choose PairedImagesDataModule or UnpairedImagesDataModule."
            )
        self._epochs = (epochs_constant, epochs_decay)

    @abstractmethod
    def translators(self, ema: bool = False) -> dict[Direction, nn.Module]:
        """The generators by direction, or their averages, where there are some."""

    @property
    def directions(self) -> tuple[Direction, ...]:
        """The directions in which the model translates."""
        return tuple(self.translators())

    def check_sizes(self, *networks: nn.Module) -> None:
        """Refuse, when the networks are built, sides that they cannot take.

        Raises:
            GANError: If a height or width is too small, or no multiple of what a generator halves.
        """
        for _, *sides in (self.image_shape, self.target_shape):
            for network in networks:
                least, multiple = cast(int, network.min_size), cast(int, getattr(network, "multiple", 1))
                if min(sides) < least or any(side % multiple for side in sides):
                    raise GANError(
                        f"{type(network).__name__} takes heights and widths from {least}{_multiples(multiple)}, not "
                        f"{tuple(sides)}: choose another image size, or other networks."
                    )

    def schedule(self, step: int) -> float:
        """Return the factor on the learning rates after so many steps, constant within an epoch of a step a batch."""
        constant, decay = self._epochs
        if decay is None:
            return 1.0
        epoch = self.trainer.current_epoch + self.trainer.is_last_batch if step else 0  # that of the next step
        return max(0.0, 1.0 - max(0.0, epoch + 1 - constant) / (decay + 1))

    def schedule_warnings(self) -> Iterator[str]:
        """Yield, before the first step, whether learning rates fall too soon for the fit, or never."""
        constant, decay = self._epochs
        if decay is None:
            return
        name, end, epochs = type(self).__name__, constant + decay, planned_epochs(self.trainer, 1)
        if math.isinf(self.trainer.num_training_batches):
            yield (
                f"{name}'s learning rates fall by epochs, and the loader has no end, so that they stay up: pass "
                f"Trainer(limit_train_batches=…), the batches of an epoch, or epochs_decay=None to the model."
            )
        elif epochs > end:
            length = "no end" if math.isinf(epochs) else f"{epochs:.0f} epochs"
            yield (
                f"{name}'s learning rates are 0 after epochs_constant + epochs_decay = {constant} + {decay} epochs, "
                f"and this fit has {length}: pass Trainer(max_epochs={end}), or more of either to the model."
            )

    def inputs(self, batch: Any) -> Inputs:
        """Return the reals of both domains by direction, and their translations."""
        self.check_batch(batch)
        reals = {"AtoB": batch[0], "BtoA": batch[1]}
        return Inputs(reals, generate=self.generate, maker=list(self.translators().values()), batch=batch)

    def generate(self, x: Inputs) -> dict[str, Tensor]:
        """Return the fakes of a step by direction."""
        return {direction: network(x.real[direction]) for direction, network in self.translators().items()}

    def forward(self, images: Tensor, direction: Direction = "AtoB") -> Tensor:
        """Translations of images ``(N, C, H, W)``, by the averaged generator where there is one."""
        return cast(Tensor, self.translators(ema=True)[direction](images))

    @torch.no_grad()
    def translate(
        self,
        images: Tensor,
        direction: Direction = "AtoB",
        *,
        stochastic: bool = False,
        seed: int | None = None,
        ema: bool = True,
    ) -> Tensor:
        """Translate images ``(N, C, H, W)`` in [-1, 1] to others in [-1, 1], without touching the training.

        Args:
            images: Images of the domain the direction starts from, of any height and width that the network can halve.
            direction: "AtoB", or "BtoA" where the model knows the way back.
            stochastic: Whether to translate as Pix2Pix was published: dropout goes on, and BatchNorm takes each
                image's own statistics. Otherwise an image has one translation, with the statistics of the training.
            seed: Makes stochastic translations repeatable.
            ema: Whether to use the averaged generator, where there is one.

        Raises:
            GANError: If the model does not go that way, the images do not fit it, or the seed is out of torch's range.
        """
        networks = self.translators(ema)
        if direction not in networks:
            raise GANError(
                f"{type(self).__name__} translates {' and '.join(networks)}, not {direction}: exchange the domains of "
                f"the data (direction='BtoA') and train on them, or use CycleGAN, which learns both."
            )
        network = networks[direction]
        self._check_images(images, direction)
        images = images.to(self.device)
        devices = [self.device] if self.device.type == "cuda" else []
        draws = torch.random.fork_rng(devices, enabled=stochastic and seed is not None)
        with in_mode(network, training=stochastic), draws, force_eager():
            if stochastic and seed is not None:
                torch.manual_seed(check_seed(seed))
            parts = torch.split(images, 1 if stochastic else TRANSLATE_CHUNK)
            return torch.cat([_preserving_statistics(network, part).float() for part in parts])

    def _check_images(self, images: Tensor, direction: Direction) -> None:
        channels = (self.image_shape if direction == "AtoB" else self.target_shape)[0]
        multiple = cast(int, getattr(self.translators()[direction], "multiple", 1))
        if images.ndim != 4 or images.shape[1] != channels or any(side % multiple for side in images.shape[2:]):
            raise GANError(
                f"Images for {direction} must have shape (N, {channels}, H, W) with H and W multiples of {multiple}, "
                f"not {tuple(images.shape)}: convert, resize or pad them."
            )

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Return the translations of the batch's first domain."""
        batch = self.columns(batch)
        if not batches.has_samples(batch):
            raise GANError(f"There are no images in {batches.description(batch)}: bring (N, C, H, W), or dicts of 'A'.")
        self.look_once(batch)
        return self.translate(batch[0])

    def setup(self, stage: str) -> None:
        """Compare both domains with the data's before anything is computed.

        Raises:
            GANError: If they differ, or the data has one domain only.
        """
        super().setup(stage)
        data = getattr(self.trainer, "datamodule", None)
        if data is not None and data_spec(data).get("target_shape") is None:
            raise GANError(
                f"{type(self).__name__} needs images of two domains, and {type(data).__name__} has one: choose "
                f"PairedImagesDataModule or UnpairedImagesDataModule."
            )
        check_data_spec(self, data)

    def check_batch(self, batch: Any) -> None:
        """Compare a batch with what the model was built for.

        Raises:
            GANError: If it differs, naming the remedy.
        """
        name = type(self).__name__
        if not _is_pair(batch):
            raise GANError(
                f"{name} needs batches (a, b), or dicts of 'A' and 'B', with images of two domains, and found "
                f"{batches.description(batch)}: choose paired or unpaired images, or loaders {{'A': …, 'B': …}}."
            )
        a, b = batch[:2]
        batches.check_shape(a, self.image_shape, "image_shape", name)
        batches.check_shape(b, self.target_shape, "target_shape", name)
        for images in (a, b):
            batches.check_floats(images)
        if len(a) != len(b):
            raise GANError(
                f"{name} needs as many images of domain B as of domain A in a batch, and found {len(a)} of A and "
                f"{len(b)} of B: collate them in pairs, or leave out incomplete batches (drop_last=True)."
            )

    def columns(self, batch: Any) -> Any:
        """Return a batch as ``(a, b)``; of two loaders' batches, as many images as the smaller one has."""
        taken = super().columns(batches.domains(batch))
        if not _is_pair(taken) or len(taken[0]) == len(taken[1]) or not is_attached(self):
            return taken
        loaders = self.trainer.train_dataloader
        several = self.trainer.training and isinstance(loaders, Mapping | list | tuple) and len(loaders) > 1
        return map_tensors(lambda t: t[: min(map(len, taken[:2]))], taken) if several else taken

    def oddities(self, batch: Any) -> Iterator[str]:
        """Yield what is odd about the first batch: a range of either domain."""
        for domain, images in zip("AB", batch, strict=False):
            if isinstance(images, Tensor) and images.is_floating_point() and images.ndim == 4:
                yield from batches.odd_range(images, self.kind, f"images of domain {domain}", type(self).__name__)


def _is_pair(batch: Any) -> bool:
    return isinstance(batch, tuple | list) and len(batch) > 1 and all(isinstance(part, Tensor) for part in batch[:2])


def _multiples(multiple: int) -> str:
    return f" that are multiples of {multiple}" if multiple > 1 else ""


def _preserving_statistics(network: nn.Module, images: Tensor) -> Tensor:
    """What the network makes of the images; where BatchNorm notes what it sees, it does so in copies."""
    if not network.training:
        return cast(Tensor, network(images))
    notes = {name: buffer.clone() for name, buffer in network.named_buffers()}
    return cast(Tensor, functional_call(network, notes, (images,)))
