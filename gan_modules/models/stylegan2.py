"""Analyzing and Improving the Image Quality of StyleGAN: Karras et al., CVPR 2020, arXiv:1912.04958.

The non-saturating game between a generator of modulated convolutions and a residual discriminator. Two regularizers
are due only every few rounds, in moves of their own (App. B): R1 on the reals, and on the generator that the paths from
style to image be equally long (Eq. 4). With little data, the discriminator's images are augmented as much as it
overfits: Training Generative Adversarial Networks with Limited Data, Karras et al., NeurIPS 2020, arXiv:2006.06676.

=====================  =================================  ==================================
Departure              Paper                              Here
=====================  =================================  ==================================
batch                  32 or 64, over 8 GPUs              the datamodule's `batch_size`
labels of fakes        drawn from the training set        those of the batch's reals
moving average         with a ramp-up in `auto` and       always with one
                       `cifar` alone
overfitting            judged in R1's moves, too          judged in the main moves
mean style             of unmixed latents (code)          of those mixed in, too
=====================  =================================  ==================================
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any, Self, Unpack, cast

import torch
from torch import Tensor
from torch.optim import Optimizer

from gan_modules.engine.players import GameOptions, Losses, Player, adam
from gan_modules.errors import GANError
from gan_modules.families.latent import Deal
from gan_modules.families.style import StyleBasedGAN
from gan_modules.functional import losses, regularizers
from gan_modules.functional.augment import augment_bgc
from gan_modules.functional.compiling import force_eager
from gan_modules.networks import StyleGAN2Discriminator, StyleGAN2Generator
from gan_modules.techniques.ada import AdaptiveAugmentation

PATH_LENGTH_DECAY = 0.01  # of the running mean, a move
ADA_INTERVAL = 4  # rounds between two adjustments
LARGEST_GRADIENT = 1e5


class StyleGAN2(StyleBasedGAN):
    """The style-based game with regularizers of its own pace (arXiv:1912.04958), adaptively augmented if asked for.

    The defaults are the paper's configuration F at 1024×1024; `auto`, `paper256` and `cifar` give those of
    arXiv:2006.06676. All sizes and weights not named there are arguments.

    Args:
        image_shape: ``(C, H, W)``, square, with a power of two from 8 to 1024.
        num_classes: Classes of the data; 0 where it has none.
        conditional: Whether both networks are told the classes that there are.
        latent_dim: Size of the latent vector.
        style_dim: Size of a style.
        mapping_layers: Layers between the two.
        channel_base: Channels times image size, where that is below `channel_max`.
        channel_max: Most channels of a layer.
        residual: Whether the discriminator has shortcuts; without, it is StyleGAN's.
        stddev_group: Images that the discriminator compares with one another.
        half_precision_layers: Sizes, from the largest, at which both networks are trained in half precision.
        conv_clamp: Bound on what a convolution puts out, which half precision needs; `None` for none.
        r1_weight: Weight of R1 (γ).
        r1_interval: Rounds from one move on R1 to the next; 0 for none.
        path_length_weight: Weight of the path lengths' deviation; 0 for no such moves.
        path_length_interval: Rounds from one move on it to the next; 0 for none.
        style_mixing: Share of the batches with mixed styles.
        ada_target: The E[sign D(real)] that augmentation is to hold (0.6 in arXiv:2006.06676); `None` augments nothing.
        ada_images: Images in which the probability of an augmentation moves by 1.
        freeze_d: Sizes, from the largest, of which the discriminator's layers stay as they are (arXiv:2002.10964).
        truncation_cutoff: Layers, from the coarsest, that `sample`'s truncation reaches; all by default.
        lr_g: Learning rate of the generator, corrected for the moves on its regularizer as are `betas` (App. B).
        lr_d: Learning rate of the discriminator, likewise.
        betas: Adam's decay rates.
        **options: See `gan_modules.GAN`.
    """

    generator: StyleGAN2Generator
    discriminator: StyleGAN2Discriminator
    generator_ema: StyleGAN2Generator | None
    path_length: Tensor  # running mean: the a of Eq. 4

    def __init__(
        self,
        image_shape: Sequence[int] = (3, 1024, 1024),
        num_classes: int = 0,
        conditional: bool = True,
        latent_dim: int = 512,
        style_dim: int = 512,
        mapping_layers: int = 8,
        channel_base: int = 32768,
        channel_max: int = 512,
        residual: bool = True,
        stddev_group: int = 4,
        half_precision_layers: int = 0,
        conv_clamp: float | None = 256.0,
        r1_weight: float = 10.0,
        r1_interval: int = 16,
        path_length_weight: float = 2.0,
        path_length_interval: int = 4,
        style_mixing: float = 0.9,
        ada_target: float | None = None,
        ada_images: int = 500_000,
        freeze_d: int = 0,
        truncation_cutoff: int | None = None,
        lr_g: float = 2e-3,
        lr_d: float = 2e-3,
        betas: tuple[float, float] = (0.0, 0.99),
        **options: Unpack[GameOptions],
    ) -> None:
        if r1_interval < 0 or path_length_interval < 0:
            raise GANError(f"{r1_interval=} and {path_length_interval=} must be numbers of rounds, or 0 for never.")
        if ada_images < 1 or freeze_d < 0:
            raise GANError(f"{ada_images=} must be a number of images, and {freeze_d=} one of sizes.")
        told = num_classes if conditional else 0
        widths = (channel_base, channel_max)
        precision = (half_precision_layers, conv_clamp)
        super().__init__(
            StyleGAN2Generator(image_shape, latent_dim, told, style_dim, mapping_layers, *widths, *precision),
            StyleGAN2Discriminator(image_shape, told, *widths, residual, stddev_group, *precision),
            image_shape=image_shape,
            num_classes=told,
            latent_dim=latent_dim,
            optimizer_g=adam(lr_g, betas, every=path_length_interval),
            optimizer_d=adam(lr_d, betas, every=r1_interval),
            style_mixing=style_mixing,
            truncation_cutoff=truncation_cutoff,
            **options,
        )
        self.save_hyperparameters()
        self.r1_weight, self.r1_interval = r1_weight, r1_interval
        self.path_length_weight, self.path_length_interval = path_length_weight, path_length_interval
        self.register_buffer("path_length", torch.zeros(()))
        self.augment = None
        if ada_target is not None:
            self.augment = AdaptiveAugmentation(augment_bgc, ada_target, ada_images)
        for block in islice(self.discriminator.blocks.values(), freeze_d):
            block.requires_grad_(False)

    def configure_players(self) -> dict[str, Player]:
        """The generator and the discriminator, each with its regularizer."""
        return {
            "generator": Player(
                self.generator, self._deceive, self._optimizer_g, further={"path_length": self.path_length_losses}
            ),
            "discriminator": Player(self.discriminator, self._judge, self._optimizer_d, further={"r1": self.flatten}),
        }

    def turns(self, round: int) -> Sequence[Sequence[str]]:
        """One turn: the generator, its regularizer if due, the discriminator, its regularizer if due."""
        moves = ["generator"]
        if self.path_length_weight and self.path_length_interval and round % self.path_length_interval == 0:
            moves.append("generator/path_length")
        moves.append("discriminator")
        if self.r1_weight and self.r1_interval and round % self.r1_interval == 0:
            moves.append("discriminator/r1")
        return [moves]

    def deal(self, batch: Sequence[Tensor], movers: Sequence[str]) -> Sequence[tuple[Deal, float]]:
        """Reals and labels; every few rounds the augmentation is adjusted before."""
        if self.augment is not None and self.trainer.global_step % ADA_INTERVAL == 0:
            self.augment.adjust()
        return super().deal(batch, movers)

    def logits(self, images: Tensor, *labels: Tensor) -> Tensor:
        """What the discriminator says of images, augmented where they are."""
        return cast(Tensor, self.discriminator(images if self.augment is None else self.augment(images), *labels))

    def generator_losses(self, fake: Tensor, *labels: Tensor) -> Losses:
        """Be taken for real."""
        return {"adversarial": losses.non_saturating_g(self.logits(fake, *labels))}

    def path_length_losses(self, deal: Deal) -> Losses:
        """Let steps of style be steps of image, of the same length everywhere (Eq. 4); on half a batch."""
        half = max(1, len(deal.real) // 2)
        with torch.autocast(self.device.type, enabled=False), force_eager():
            styles = self.styles(half, tuple(labels[:half] for labels in deal.condition))
            lengths = regularizers.path_lengths(self.generator.synthesis(styles), styles)
        # The mean keeps its graph, as in the published code
        mean = self.path_length.to(lengths).lerp(lengths.mean(), PATH_LENGTH_DECAY)
        self.path_length.copy_(self._mean(mean.detach()))
        weight = self.path_length_weight * self.path_length_interval
        return {"path_length": weight * (lengths - mean).square().mean()}

    def discriminator_losses(self, real: Tensor, fake: Tensor, *labels: Tensor) -> Losses:
        """Tell reals from fakes."""
        real_logits = self.logits(real, *labels)
        if self.augment is not None:
            self.augment.observe(real_logits, self._sum)
        return {"non_saturating": losses.minimax_d(real_logits, self.logits(fake, *labels))}

    def flatten(self, deal: Deal) -> Losses:
        """Be flat around the reals, through their augmentation (R1, arXiv:1801.04406)."""
        weight = self.r1_weight * self.r1_interval
        return {"r1": weight * regularizers.r1(self.logits, deal.real, *deal.condition)}

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Let no gradient be infinite, as in the published code; where there is a scaler, it skips such steps."""
        if self.trainer.scaler is None:
            for parameter in optimizer.param_groups[0]["params"]:
                if parameter.grad is not None:
                    parameter.grad.nan_to_num_(0.0, LARGEST_GRADIENT, -LARGEST_GRADIENT)
        super().on_before_optimizer_step(optimizer)

    def measured(self) -> dict[str, float]:
        """The mean path length, and the probability of an augmentation."""
        values = {"path_length": self.path_length.item()}
        return values if self.augment is None else values | {"augmentation": self.augment.p.item()}

    def _sum(self, values: Tensor) -> Tensor:
        return self._mean(values) * self.trainer.world_size

    @classmethod
    def auto(cls, image_shape: Sequence[int], batch_size: int, **changes: Any) -> Self:
        """The configuration of arXiv:2006.06676 for data of one's own, with ADA: sensible figures for size and batch.

        Args:
            image_shape: See the class.
            batch_size: Images of a round, over all processes.
            **changes: Arguments of the class that are to differ.
        """
        size = image_shape[-1]
        rate = 2e-3 if size >= 1024 else 2.5e-3
        figures = {
            "mapping_layers": 2,
            "channel_base": 32768 if size >= 512 else 16384,
            "stddev_group": min(batch_size, 4),
            "r1_weight": 2e-4 * size**2 / batch_size,
            "ema_half_life": batch_size * 10_000 / 32,
            "ada_target": 0.6,
            "lr_g": rate,
            "lr_d": rate,
        }
        return cls(image_shape, **figures | changes)

    @classmethod
    def paper256(cls, image_shape: Sequence[int] = (3, 256, 256), **changes: Any) -> Self:
        """The baseline of arXiv:2006.06676 at 256×256, for batches of 64; `changes` as in `auto`."""
        rates = {"lr_g": 2.5e-3, "lr_d": 2.5e-3}
        figures = {"channel_base": 16384, "stddev_group": 8, "r1_weight": 1.0, "ema_half_life": 20_000}
        return cls(image_shape, **rates | figures | changes)

    @classmethod
    def cifar(cls, image_shape: Sequence[int] = (3, 32, 32), **changes: Any) -> Self:
        """The configuration of arXiv:2006.06676 for CIFAR-10, with ADA, for batches of 64; `changes` as in `auto`."""
        figures = {
            "mapping_layers": 2,
            "residual": False,
            "stddev_group": 32,
            "r1_weight": 0.01,
            "path_length_weight": 0.0,
            "style_mixing": 0.0,
            "ema_half_life": 500_000,
            "ada_target": 0.6,
            "lr_g": 2.5e-3,
            "lr_d": 2.5e-3,
        }
        return cls(image_shape, **figures | changes)
