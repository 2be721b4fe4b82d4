"""The families of games: what their players are dealt, and which two objectives a paper has to give.

The engine that plays them, `GAN`, is in `gan_modules.engine.game`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Unpack, cast

import torch
from torch import Tensor, nn

from gan_modules.engine.game import GAN
from gan_modules.engine.players import GameOptions, Losses, OptimizerFactory, Player
from gan_modules.engine.seeds import check_seed
from gan_modules.errors import GANError
from gan_modules.functional.compiling import force_eager

SAMPLE_CHUNK = 64  # images that `sample` makes at a time, which bounds the memory of their making


@dataclass
class Deal:
    """What a turn of a latent game is played with.

    Attributes:
        real: Images ``(N, C, H, W)`` or points ``(N, 2)``.
        condition: ``(labels,)`` with labels ``(N,)`` in a conditional game, else ``()``.
        latents: Noise ``(N, latent_dim)``, the same for all movers; `None` where each draws its own.
        fake: The generator's images, when all movers can share them.
    """

    real: Tensor
    condition: tuple[Tensor, ...]
    latents: Tensor | None = None
    fake: Tensor | None = None


class LatentGAN(GAN, ABC):
    """Noise to images, by one generator and one discriminator that moves `n_critic` times a round.

    A variant gives the two networks, their optimizers, and the two objectives. The fakes of the turn in which both
    move are made once and shared: the discriminator judges them detached, the generator through their graph.

    Args:
        generator: From latents ``(N, latent_dim)`` to images.
        discriminator: From images to logits ``(N, 1)``.
        image_shape: See `GAN`.
        latent_dim: Size of the latent vector, drawn from a standard normal.
        optimizer_g: The generator's optimizer, without its parameters.
        optimizer_d: The discriminator's.
        n_critic: Moves of the discriminator a round, each on fresh images.
        schedule: From rounds played to the factor on both learning rates.
        num_classes: See `GAN`.
        **options: See `GAN`.
    """

    discriminator_losses: Callable[..., Losses]
    generator_losses: Callable[..., Losses]

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        *,
        image_shape: Sequence[int],
        latent_dim: int,
        optimizer_g: OptimizerFactory,
        optimizer_d: OptimizerFactory,
        n_critic: int = 1,
        schedule: Callable[[int], float] | None = None,
        num_classes: int = 0,
        **options: Unpack[GameOptions],
    ) -> None:
        super().__init__(image_shape, num_classes, **options)
        if n_critic < 1:
            raise GANError(f"n_critic={n_critic} must be at least 1: it is the discriminator's moves a round.")
        self.latent_dim = latent_dim
        self.n_critic = n_critic
        # channels_last: convolutions are faster, values and names stay
        self.generator = generator.to(memory_format=torch.channels_last)
        self.discriminator = discriminator.to(memory_format=torch.channels_last)
        self.generator_ema = self._averages.follow(generator)
        self._optimizer_g = optimizer_g
        self._optimizer_d = optimizer_d
        self._schedule = schedule

    def configure_players(self) -> dict[str, Player]:
        """The discriminator and the generator."""
        return {
            "discriminator": Player(self.discriminator, self._judge, self._optimizer_d, self._schedule),
            "generator": Player(self.generator, self._deceive, self._optimizer_g, self._schedule),
        }

    def turns(self, round: int) -> Sequence[Sequence[str]]:
        """As many turns as the discriminator has moves, the last shared with the generator."""
        return [*[("discriminator",)] * (self.critic_moves(round) - 1), ("discriminator", "generator")]

    def critic_moves(self, round: int) -> int:
        """Moves of the discriminator in the given round."""
        return self.n_critic

    def deal(self, batch: Sequence[Tensor], movers: Sequence[str]) -> Sequence[tuple[Deal, float]]:
        """Reals, labels, fresh noise, and the shared fakes."""
        real = batch[0]
        if real.ndim == 4:
            real = real.contiguous(memory_format=torch.channels_last)
        condition = (batch[1],) if self.num_classes else ()
        latents = torch.randn(len(real), self.latent_dim, device=self.device)
        if self.accumulate == 1:
            with torch.set_grad_enabled("generator" in movers):
                fake = self.generator(latents, *condition)
            return [(Deal(real, condition, latents, fake), 1.0)]
        columns = [tensor.chunk(self.accumulate) for tensor in (real, latents, *condition)]
        return [
            (Deal(real, tuple(condition), latents), len(real) / len(batch[0]))
            for real, latents, *condition in zip(*columns, strict=True)
        ]

    def match_lod(self, real: Tensor) -> Tensor:
        """Reals as coarse as the images that the networks now make: as they are, where networks do not grow."""
        return real

    def _judge(self, deal: Deal) -> Losses:
        if (fake := deal.fake) is None:
            with torch.no_grad():
                fake = self.generate(deal)
        return self.discriminator_losses(deal.real, fake.detach(), *deal.condition)

    def _deceive(self, deal: Deal) -> Losses:
        fake = self.generate(deal) if deal.fake is None else deal.fake
        return self.generator_losses(fake, *deal.condition)

    def generate(self, deal: Deal) -> Tensor:
        """The generator's images for a move whose players share none."""
        return cast(Tensor, self.generator(deal.latents, *deal.condition))

    def synthesize(self, generator: nn.Module, z: Tensor, *labels: Tensor, truncation: float) -> Tensor:
        """Images from latents ``(N, latent_dim)`` by the given generator, for `sample`."""
        return cast(Tensor, generator(z * truncation, *labels))

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images from latents ``(N, latent_dim)``, by the averaged generator where there is one."""
        network = self.generator if self.generator_ema is None else self.generator_ema
        return cast(Tensor, network(z) if labels is None else network(z, labels))

    @torch.no_grad()
    def sample(
        self,
        n: int,
        *,
        labels: Tensor | Sequence[int] | int | None = None,
        z: Tensor | None = None,
        seed: int | None = None,
        truncation: float = 1.0,
        ema: bool = True,
    ) -> Tensor:
        """Draw `n` images ``(n, C, H, W)`` in [-1, 1], or points ``(n, 2)``, without touching the training.

        Args:
            n: How many.
            labels: Class indices ``(n,)``, or one for all; 0, 1, 2, … in turn where a conditional model is given none.
            z: Latents ``(n, latent_dim)``; drawn where not given.
            seed: Makes the draw repeatable, and the same on every device.
            truncation: Factor on the latents, or on the styles: below 1 they are drawn to their mean, for less variety.
            ema: Whether to use the averaged generator, where there is one.

        Raises:
            GANError: If `z` or `labels` do not fit the model.

        >>> from gan_modules import VanillaGAN
        >>> VanillaGAN(image_shape=(1, 8, 8)).sample(4, seed=0).shape
        torch.Size([4, 1, 8, 8])
        """
        network = self.generator_ema if ema and self.generator_ema is not None else self.generator
        if z is None:
            z = self.latents(n, seed)
        elif z.shape != (n, self.latent_dim):
            raise GANError(f"z has shape {tuple(z.shape)}, but sample({n}) needs ({n}, {self.latent_dim}).")
        z = z.to(self.device)
        condition = self.condition(n, labels)
        was_training = network.training
        network.eval()
        try:
            parts = zip(*(torch.split(tensor, SAMPLE_CHUNK) for tensor in (z, *condition)), strict=True)
            with force_eager():
                return torch.cat([self.synthesize(network, *part, truncation=truncation).float() for part in parts])
        finally:
            network.train(was_training)

    def latents(self, n: int, seed: int | None = None) -> Tensor:
        """Draw latents ``(n, latent_dim)`` on the CPU: the same seed gives the same ones for every device.

        Raises:
            GANError: If the seed is out of torch's range.
        """
        source = None if seed is None else torch.Generator().manual_seed(check_seed(seed))
        return torch.randn(n, self.latent_dim, generator=source)

    def condition(self, n: int, labels: Tensor | Sequence[int] | int | None) -> tuple[Tensor, ...]:
        """What the generator is told beside `n` latents: ``(labels,)`` as `sample` takes them, ``()`` without classes.

        Raises:
            GANError: If the labels do not fit the model.
        """
        if not self.num_classes:
            if labels is not None:
                raise GANError(f"{type(self).__name__} was trained without classes: leave labels out.")
            return ()
        if labels is None:
            return (torch.arange(n, device=self.device) % self.num_classes,)
        chosen = torch.as_tensor([labels] * n if isinstance(labels, int) else labels, device=self.device)
        whole = chosen.shape == (n,) and not chosen.is_floating_point()
        if not whole or not 0 <= int(chosen.min()) <= int(chosen.max()) < self.num_classes:
            raise GANError(f"labels must be {n} class indices from 0 to {self.num_classes - 1}.")
        return (chosen,)

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        """As many samples as the batch has images, of the batch's classes."""
        batch = (batch,) if isinstance(batch, Tensor) else batch
        return self.sample(len(batch[0]), labels=batch[1] if self.num_classes else None)


class UnconditionalGAN(LatentGAN, ABC):
    """A latent game whose networks know of no classes."""

    @abstractmethod
    def discriminator_losses(self, real: Tensor, fake: Tensor) -> Losses:
        """The discriminator's terms on images ``(N, …)``; `fake` carries no graph."""

    @abstractmethod
    def generator_losses(self, fake: Tensor) -> Losses:
        """The generator's terms on the images ``(N, …)`` it has made."""


class ConditionalGAN(LatentGAN, ABC):
    """A latent game in which both networks are told the class of each image."""

    @abstractmethod
    def discriminator_losses(self, real: Tensor, fake: Tensor, labels: Tensor) -> Losses:
        """The discriminator's terms on images ``(N, …)`` of the given classes ``(N,)``; `fake` carries no graph."""

    @abstractmethod
    def generator_losses(self, fake: Tensor, labels: Tensor) -> Losses:
        """The generator's terms on the images ``(N, …)`` it has made of the given classes ``(N,)``."""
