"""The family of latent games: samples from noise, by one generator against one discriminator."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any, ClassVar, Unpack, cast

import torch
from torch import Tensor, nn

from gan_modules.engine.class_names import Labels, agreed_names, class_indices, class_names
from gan_modules.engine.contexts import evaluating, seeded
from gan_modules.engine.game import GAN
from gan_modules.engine.inputs import Inputs, slices, take
from gan_modules.engine.players import GameOptions, Losses, OptimizerFactory, Phase, Player
from gan_modules.engine.seeds import check_seed
from gan_modules.errors import GANError
from gan_modules.families import batches
from gan_modules.families.data_spec import SHAPES, check_data_spec, sample_kind
from gan_modules.functional.compiling import force_eager

SAMPLE_CHUNK = 64  # samples that are made at a time, which bounds the memory of their making


class LatentOptions(GameOptions, total=False):
    """Arguments that every latent model hands on to the family; `LatentGAN` and `gan_modules.GAN` explain them."""

    augment: nn.Module | None


class LatentGAN(GAN, ABC):
    """Samples from noise, by a generator against a discriminator that is updated `n_critic` times a step.

    A model gives the two networks, their optimizers, and the two objectives. Both objectives see the reals, the
    conditions, the latents and the fakes. The fakes of the batch on which both networks are updated are made once.

    Data with labels or captions (`num_classes`, `vocab_size`) give the objectives conditions. Whether a network takes
    them is the model's: it sets `generator_is_conditional` and `discriminator_is_conditional`, or uses them in a loss.

    Args:
        generator: From latents ``(N, latent_dim)``, and conditions where there are some, to samples.
        discriminator: From samples, and conditions where there are some, to logits ``(N, 1)``.
        latent_dim: Size of a latent vector; `prior` draws it from a standard normal.
        optimizer_g: The generator's optimizer, without its parameters.
        optimizer_d: The discriminator's.
        image_shape: ``(C, H, W)`` of an image; or else
        point_shape: ``(D,)`` of a point; or else
        audio_shape: ``(C, T)`` of a sound; or else
        video_shape: ``(C, T, H, W)`` of a clip.
        num_classes: Classes of the labels that come with the data; 0 for data without labels.
        vocab_size: Words of the captions that come with the data, as tokens ``(N, L)``; 0 for data without captions.
        n_critic: Updates of the discriminator in a step, each on fresh reals.
        schedule: From the number of steps to the factor on both learning rates.
        augment: Augments the samples that the discriminator sees, reals and fakes, in its losses and penalties.
        **options: See `gan_modules.GAN`.

    Attributes:
        kind: "image", "point", "audio" or "video".
        sample_shape: The shape of one sample.
        classes: Names of the classes by label, from the data or the checkpoint; empty where they have none.

    Raises:
        GANError: If an argument is out of its range.
    """

    generator_is_conditional: ClassVar[bool] = False  # whether it takes the labels or captions that the data has
    discriminator_is_conditional: ClassVar[bool] = False  # likewise, where `realness` asks it
    generator: Any
    discriminator: Any
    generator_ema: Any
    augment: Any
    image_shape: tuple[int, ...] | None
    point_shape: tuple[int, ...] | None
    audio_shape: tuple[int, ...] | None
    video_shape: tuple[int, ...] | None

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        *,
        latent_dim: int,
        optimizer_g: OptimizerFactory,
        optimizer_d: OptimizerFactory,
        image_shape: Sequence[int] | None = None,
        point_shape: Sequence[int] | None = None,
        audio_shape: Sequence[int] | None = None,
        video_shape: Sequence[int] | None = None,
        num_classes: int = 0,
        vocab_size: int = 0,
        n_critic: int = 1,
        schedule: Callable[[int], float] | None = None,
        augment: nn.Module | None = None,
        **options: Unpack[GameOptions],
    ) -> None:
        super().__init__(**options)
        if n_critic < 1:
            raise GANError(f"n_critic={n_critic} must be at least 1: it is the discriminator's updates in a step.")
        if num_classes and vocab_size:
            raise GANError(
                f"{type(self).__name__} takes labels or captions, not both: leave num_classes or vocab_size out."
            )
        shapes = {
            "image_shape": image_shape,
            "point_shape": point_shape,
            "audio_shape": audio_shape,
            "video_shape": video_shape,
        }
        self.kind, self.sample_shape = sample_kind(shapes)
        for kind, (key, _) in SHAPES.items():
            setattr(self, key, self.sample_shape if kind == self.kind else None)
        self.num_classes = num_classes
        self.vocab_size = vocab_size
        self.latent_dim = latent_dim
        self.n_critic = n_critic
        self.schedule = schedule
        self.optimizer_g = optimizer_g
        self.optimizer_d = optimizer_d
        self.generator = self._in_fast_format(generator)
        self.discriminator = self._in_fast_format(discriminator)
        self.augment = augment
        self.track_average("generator")

    # ---- The game ----------------------------------------------------------------------------------------------------

    @abstractmethod
    def discriminator_losses(self, x: Inputs) -> Losses:
        """Return the discriminator's named terms; fakes carry no graph."""

    @abstractmethod
    def generator_losses(self, x: Inputs) -> Losses:
        """Return the generator's named terms."""

    def players(self) -> dict[str, Player]:
        """Return the discriminator and the generator."""
        return {
            "discriminator": Player(self.discriminator, self.optimizer_d, self.schedule),
            "generator": Player(self.generator, self.optimizer_g, self.schedule),
        }

    def phases(self) -> list[Phase]:
        """Return the discriminator's phase, on `n_critic` batches, and the generator's, on the last of them."""
        return [
            Phase("discriminator", self.discriminator_losses, repeats=self.n_critic),
            Phase("generator", self.generator_losses),
        ]

    def inputs(self, batch: Any) -> Inputs:
        """Return reals, conditions, latents of the prior, and the generator's fakes."""
        self.check_batch(batch)
        real = batch[0]
        if self.kind == "image":
            real = real.contiguous(memory_format=torch.channels_last)
        return Inputs(
            real,
            self.condition(batch),
            prior=self._prior_on_device,
            generate=self.generate,
            maker=self.generator,
            batch=batch,
        )

    def prior(self, n: int) -> Tensor:
        """Draw latents ``(n, latent_dim)``, for training and for `sample` alike; on the default device."""
        return torch.randn(n, self.latent_dim)

    def condition(self, batch: Any) -> tuple[Any, ...]:
        """Return what the networks take beside the samples of a batch: labels or captions, where there are some."""
        return (batch[1],) if self.num_classes or self.vocab_size else ()

    def generate(self, x: Inputs) -> Any:
        """Return the fakes of a step."""
        return self.generator(x.z, *(x.condition if self.generator_is_conditional else ()))

    def logits(self, samples: Tensor, *condition: Any) -> Tensor:
        """Return the discriminator's logits of samples, augmented where there is an augmentation.

        Objectives and penalties call it, so that both see the same augmentation.
        """
        return cast(Tensor, self.discriminator(self.augmented(samples), *condition))

    def augmented(self, samples: Tensor) -> Tensor:
        """Return samples as the discriminator sees them in training, for objectives that call parts of it."""
        return samples if self.augment is None else cast(Tensor, self.augment(samples))

    def realness(self, samples: Tensor, *condition: Any) -> Tensor:
        """Return how real samples look ``(N,)``, larger for more real: their mean logits, without augmentation.

        Raises:
            GANError: If the discriminator gives several numbers for a sample or a patch, such as a logit per class.
        """
        logits = self.discriminator(samples, *(condition if self.discriminator_is_conditional else ()))
        if logits.ndim > 1 and logits.shape[1] != 1:
            raise GANError(
                f"{type(self).__name__}'s discriminator gives {logits.shape[1]} numbers for a sample: override "
                f"realness() to choose among them."
            )
        return cast(Tensor, logits.flatten(1).mean(1) if logits.ndim > 1 else logits)

    def match_lod(self, real: Tensor) -> Tensor:
        """Return reals as coarse as the samples that the networks now make: as they are, where networks do not grow."""
        return real

    def check_batch(self, batch: Any) -> None:
        """Compare a batch with what the model was built for.

        Raises:
            GANError: If it differs, naming the remedy.
        """
        name = type(self).__name__
        batches.check_samples(batch, name)
        batches.check_shape(batch[0], self.sample_shape, SHAPES[self.kind][0], name)
        batches.check_floats(batch[0])
        if (self.num_classes or self.vocab_size) and len(batch) < 2:
            what = "labels" if self.num_classes else "captions"
            raise GANError(f"{name} needs (samples, {what}) in each batch: choose data with {what}.")

    def columns(self, batch: Any) -> Any:
        """Return a batch as ``(samples, condition)``; labels and tokens are int64, whatever integers they come as."""
        names = batches.CAPTIONS if self.vocab_size else batches.LABELS if self.num_classes else None
        taken = super().columns(batches.columns(batch, names))
        return taken if names is None else batches.with_indices(taken, self.device, one_each=bool(self.num_classes))

    def oddities(self, batch: Any) -> Iterator[str]:
        """Yield what is odd about the first batch: the samples' range, loaders left out; refuse labels of no class."""
        if not batches.has_samples(batch):
            return
        name = type(self).__name__
        if tuple(batch[0].shape[1:]) == self.sample_shape and batch[0].is_floating_point():
            yield from batches.odd_range(batch[0], self.kind, "samples", name)
        if self.num_classes and len(batch) > 1:
            batches.check_labels(batch[1], self.num_classes, name)
        if self.trainer.training:
            yield from batches.left_out(self.trainer.train_dataloader, name)

    def setup(self, stage: str) -> None:
        """Compare the model with the data before anything is computed; see `check_data_spec`."""
        super().setup(stage)
        data = getattr(self.trainer, "datamodule", None)
        check_data_spec(self, data)
        self.classes = agreed_names(self.classes, class_names(data), type(data).__name__)

    # ---- Samples -----------------------------------------------------------------------------------------------------

    def forward(self, z: Tensor, *condition: Any) -> Tensor:
        """Return samples of latents ``(N, latent_dim)``, by the averaged generator where there is one."""
        return cast(Tensor, self.averaged("generator")(z, *condition))

    @torch.no_grad()
    def sample(
        self,
        n: int,
        *,
        labels: Labels | None = None,
        captions: Tensor | None = None,
        codes: Any = None,
        z: Tensor | None = None,
        seed: int | None = None,
        truncation: float = 1.0,
        ema: bool = True,
    ) -> Tensor:
        """Draw `n` samples ``(n, *sample_shape)`` in [-1, 1] (points anywhere), without touching the training.

        Args:
            n: How many.
            labels: Class indices or names ``(n,)``, or one for all; 0, 1, 2, … in turn where a conditional model is
                given none.
            captions: Tokens ``(n, L)``, where the model takes captions.
            codes: The part of the latents that a model names, such as a component's number; see `with_codes`.
            z: Latents ``(n, latent_dim)``; drawn where not given.
            seed: Makes the draw repeatable, and the same on every device.
            truncation: Factor on the latents, or on the styles: below 1 they are drawn to their mean, for less variety.
            ema: Whether to use the averaged generator, where there is one.

        Raises:
            GANError: If `z`, `labels`, `captions` or `codes` do not fit the model.

        >>> from gan_modules import VanillaGAN
        >>> VanillaGAN(image_shape=(1, 8, 8)).sample(4, seed=0).shape
        torch.Size([4, 1, 8, 8])
        """
        if z is None:
            z = self.draw_latents(n, seed)
        elif z.shape != (expected := (n, *self.draw_latents(1, 0).shape[1:])):
            raise GANError(f"z has shape {tuple(z.shape)}, but sample({n}) needs {expected}.")
        if codes is not None:
            z = self.with_codes(z, codes)
        return self.sample_from(z, self.sample_condition(n, labels, captions), truncation=truncation, ema=ema)

    def with_codes(self, z: Tensor, codes: Any) -> Tensor:
        """Return latents with the given codes in the place of those that `prior` drew; a model with codes overrides it.

        Args:
            z: Latents ``(n, …)``.
            codes: As `sample` gets them.

        Raises:
            GANError: If the model has no codes, or these do not fit.
        """
        raise GANError(f"The latents of {type(self).__name__} hold no codes: leave codes out.")

    @torch.no_grad()
    def sample_like(self, batch: Any, *, seed: int | None = None, ema: bool = True) -> Tensor:
        """Draw as many samples as a batch holds, of the batch's labels or captions.

        Args:
            batch: As in training.
            seed: See `sample`.
            ema: See `sample`.
        """
        batch = self.columns(batch)
        condition = self.condition(batch) if self.generator_is_conditional else ()
        return self.sample_from(self.draw_latents(len(batch[0]), seed), condition, ema=ema)

    @torch.no_grad()
    def sample_from(
        self, z: Tensor, condition: tuple[Any, ...] = (), *, truncation: float = 1.0, ema: bool = True
    ) -> Tensor:
        """Return the samples of latents and their conditions, without touching the training.

        Args:
            z: Latents ``(N, latent_dim)``.
            condition: As from `sample_condition`.
            truncation: See `sample`.
            ema: See `sample`.
        """
        network = self.averaged("generator", ema)
        z = z.to(self.device)
        condition = tuple(part.to(self.device) if isinstance(part, Tensor) else part for part in condition)
        with evaluating(network), force_eager():
            parts = slices(len(part) for part in torch.split(z, SAMPLE_CHUNK))
            return torch.cat(
                [
                    self.synthesize(network, *take((z, *condition), rows), truncation=truncation).float()
                    for rows in parts
                ]
            )

    def synthesize(self, generator: nn.Module, z: Tensor, *condition: Any, truncation: float) -> Tensor:
        """Return samples of latents by the given generator, for `sample`."""
        return cast(Tensor, generator(self.truncate(z, truncation), *condition))

    def truncate(self, z: Tensor, truncation: float) -> Tensor:
        """Return latents drawn towards their mean; a game whose latents hold codes leaves these as they are."""
        return z * truncation

    def draw_latents(self, n: int, seed: int | None = None) -> Tensor:
        """Draw latents ``(n, …)`` from `prior` on the CPU: the same seed gives the same ones for every device.

        Raises:
            GANError: If the seed is out of torch's range.
        """
        with nullcontext() if seed is None else seeded(check_seed(seed)):
            return self.prior(n)

    def sample_condition(self, n: int, labels: Labels | None = None, captions: Tensor | None = None) -> tuple[Any, ...]:
        """Return what the generator takes beside `n` latents, from the arguments of `sample`.

        Raises:
            GANError: If labels or captions do not fit the model.
        """
        name = type(self).__name__
        if captions is not None and not self.vocab_size:
            raise GANError(f"{name} was trained without captions: leave captions out.")
        if self.vocab_size and self.generator_is_conditional:
            if labels is not None:
                raise GANError(f"{name} makes samples of captions, not of labels: leave labels out.")
            if captions is None or len(captions) != n:
                raise GANError(f"{name} makes samples of captions: pass captions, {n} rows of tokens.")
            return (captions.to(self.device),)
        if not self.num_classes or not self.generator_is_conditional:
            if labels is not None:
                without = "generates without labels" if self.num_classes else "was trained without classes"
                raise GANError(f"{name} {without}: leave labels out.")
            return ()
        if labels is None:
            return (torch.arange(n, device=self.device) % self.num_classes,)
        indices = class_indices(labels, self.classes)
        chosen = torch.as_tensor([indices] * n if isinstance(indices, int) else indices, device=self.device)
        fits = chosen.shape == (n,) and not chosen.is_floating_point()
        if not fits or not 0 <= int(chosen.min()) <= int(chosen.max()) < self.num_classes:
            raise GANError(f"labels must be {n} class indices from 0 to {self.num_classes - 1}.")
        return (chosen,)

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Return as many samples as the batch holds, of its labels or captions."""
        return self.sample_like(batch)

    def _prior_on_device(self, n: int) -> Tensor:
        if self.device.type == "cpu":
            return self.prior(n)
        with self.device:
            return self.prior(n).to(self.device)

    def _in_fast_format(self, network: nn.Module) -> nn.Module:
        """Return the network with its convolutions in the memory format that is fastest; values and names stay."""
        return network.to(memory_format=torch.channels_last) if self.kind == "image" else network
