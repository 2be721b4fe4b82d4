"""The family of image-to-image games: what their players are dealt, and how a trained one translates."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Unpack, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from gan_modules.engine.game import GAN
from gan_modules.engine.players import GameOptions
from gan_modules.engine.seeds import check_seed
from gan_modules.errors import GANError
from gan_modules.functional.compiling import force_eager

TRANSLATE_CHUNK = 8  # images that `translate` makes at a time; its networks work at the images' full size
Direction = Literal["AtoB", "BtoA"]
BACK: dict[Direction, Direction] = {"AtoB": "BtoA", "BtoA": "AtoB"}


@dataclass
class Pair:
    """What a turn of a translation game is played with.

    Attributes:
        images: Real images ``(N, C, H, W)`` of side A and of side B, under the direction that starts from them.
        fakes: The generators' translations by direction, where all movers can share them.
    """

    images: dict[Direction, Tensor]
    fakes: dict[Direction, Tensor] = field(default_factory=dict)


class TranslationGAN(GAN, ABC):
    """Images of side A to images of side B, and maybe back, from batches ``(a, b)`` of paired or unpaired images.

    A variant gives its players and, by `translators`, its generators. Fakes are made once a turn and shared by all
    movers. There is no moving average unless `ema_half_life` asks for one: the papers have none.

    Args:
        image_shape: ``(C, H, W)`` of side A.
        target_shape: ``(C, H, W)`` of side B; by default that of side A.
        epochs_constant: Epochs at the full learning rates.
        epochs_decay: Epochs in which they then fall to 0 in a straight line, where they stay; `None` keeps them up.
        **options: See `GAN`.

    Raises:
        GANError: If an argument is out of its range.
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        target_shape: Sequence[int] | None,
        epochs_constant: int,
        epochs_decay: int | None,
        **options: Unpack[GameOptions],
    ) -> None:
        options.setdefault("ema_half_life", 0.0)
        super().__init__(image_shape, **options)
        if epochs_constant < 0 or (epochs_decay is not None and epochs_decay < 0):
            raise GANError(f"{epochs_constant=} and {epochs_decay=} are numbers of epochs: neither can be negative.")
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

    def schedule(self, round: int) -> float:
        """The factor on the learning rates after so many rounds, constant within an epoch of one round a batch."""
        constant, decay = self._epochs
        if decay is None:
            return 1.0
        epoch = self.trainer.current_epoch + self.trainer.is_last_batch if round else 0  # that of the next round
        return max(0.0, 1.0 - max(0.0, epoch + 1 - constant) / (decay + 1))

    def deal(self, batch: Sequence[Tensor], movers: Sequence[str]) -> Sequence[tuple[Pair, float]]:
        """Reals of both sides and the shared fakes."""
        a, b = batch[:2]
        if self.accumulate == 1:
            pair = Pair({"AtoB": a, "BtoA": b})
            pair.fakes = {direction: self.fake(pair, direction) for direction in self.directions}
            return [(pair, 1.0)]
        parts = zip(a.chunk(self.accumulate), b.chunk(self.accumulate), strict=True)
        return [(Pair({"AtoB": a, "BtoA": b}), len(a) / len(batch[0])) for a, b in parts]

    def fake(self, pair: Pair, direction: Direction) -> Tensor:
        """The translation of a side's reals: the shared one, or, where a batch is played in parts, a new one."""
        if direction in pair.fakes:
            return pair.fakes[direction]
        return cast(Tensor, self.translators()[direction](pair.images[direction]))

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
            images: Images of the side the direction starts from, of any height and width that the network can halve.
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
                f"{type(self).__name__} translates {' and '.join(networks)}, not {direction}: exchange the sides of "
                f"the data (direction='BtoA') and train on them, or use CycleGAN, which learns both."
            )
        network = networks[direction]
        self._check_images(images, direction)
        images = images.to(self.device)
        was_training = network.training
        network.train(stochastic)
        devices = [self.device] if self.device.type == "cuda" else []
        try:
            with torch.random.fork_rng(devices, enabled=stochastic and seed is not None), force_eager():
                if stochastic and seed is not None:
                    torch.manual_seed(check_seed(seed))
                parts = torch.split(images, 1 if stochastic else TRANSLATE_CHUNK)
                return torch.cat([_unnoticed(network, part).float() for part in parts])
        finally:
            network.train(was_training)

    def _check_images(self, images: Tensor, direction: Direction) -> None:
        channels = (self.image_shape if direction == "AtoB" else self.target_shape)[0]
        multiple = cast(int, self.translators()[direction].multiple)
        if images.ndim != 4 or images.shape[1] != channels or any(side % multiple for side in images.shape[2:]):
            raise GANError(
                f"Images for {direction} must have shape (N, {channels}, H, W) with H and W multiples of {multiple}, "
                f"not {tuple(images.shape)}: convert, resize or pad them."
            )

    def predict_step(self, batch: Sequence[Tensor], batch_idx: int) -> Tensor:
        """The translations of the batch's first side."""
        return self.translate(batch[0])

    def setup(self, stage: str) -> None:
        """Compare both sides with the data's.

        Raises:
            GANError: If they disagree, or the data has one side only.
        """
        super().setup(stage)
        data = getattr(self.trainer, "datamodule", None)
        if data is None:
            return
        shape = getattr(data, "target_shape", None)
        if shape is None:
            raise GANError(
                f"{type(self).__name__} needs images of two sides, and {type(data).__name__} has one: choose "
                f"PairedImagesDataModule or UnpairedImagesDataModule."
            )
        if tuple(shape) != self.target_shape:
            raise GANError(
                f"{type(self).__name__} was built for target_shape={self.target_shape}, but {type(data).__name__} "
                f"gives {tuple(shape)} as its second side: pass target_shape={tuple(shape)} to the model, or choose "
                f"another size for the data."
            )

    def _check_batch(self, batch: Sequence[Tensor]) -> None:
        super()._check_batch(batch)
        found = tuple(batch[1].shape[1:]) if len(batch) > 1 else "nothing"
        if found != self.target_shape or len(batch[0]) != len(batch[1]):
            raise GANError(
                f"{type(self).__name__} needs batches (a, b) with as many images of shape {self.target_shape} on the "
                f"second side as on the first, and found {found}: choose paired or unpaired images of that shape."
            )


def _multiples(multiple: int) -> str:
    return f" that are multiples of {multiple}" if multiple > 1 else ""


def _unnoticed(network: nn.Module, images: Tensor) -> Tensor:
    """What the network makes of the images; where BatchNorm notes what it sees, it does so in copies."""
    if not network.training:
        return cast(Tensor, network(images))
    notes = {name: buffer.clone() for name, buffer in network.named_buffers()}
    return cast(Tensor, functional_call(network, notes, (images,)))
