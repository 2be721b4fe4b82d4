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
overfitting            measured in R1's updates, too      measured in the main updates
mean style             of unmixed latents (code)          of those mixed in, too
=====================  =================================  ==================================
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any, Unpack

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gan_modules.engine.inputs import Inputs
from gan_modules.engine.players import Losses, Phase, adam
from gan_modules.errors import GANError
from gan_modules.families.latent import LatentOptions
from gan_modules.families.style import StyleBasedGAN
from gan_modules.functional import losses, regularizers
from gan_modules.functional.augment import augment_bgc
from gan_modules.functional.compiling import force_eager
from gan_modules.networks import StyleGAN2Discriminator, StyleGAN2Generator
from gan_modules.techniques.ada import AdaptiveAugmentation

PATH_LENGTH_DECAY = 0.01  # of the running mean, an update
ADA_INTERVAL = 4  # steps between two adjustments
LARGEST_GRADIENT = 1e5


class StyleGAN2(StyleBasedGAN):
    """The style-based game with regularizers of its own pace (arXiv:1912.04958), adaptively augmented if asked for.

    The defaults are the paper's configuration F at 1024×1024; the configurations ``stylegan2_auto_…``,
    ``stylegan2_paper256`` and ``stylegan2_cifar`` are those of arXiv:2006.06676.

    Args:
        image_shape: ``(C, H, W)``, square, with a power of two from 8 to 1024.
        num_classes: Classes of the data; 0 where it has none.
        conditional: Whether both networks get the labels that there are.
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
        r1_interval: Steps from one update on R1 to the next; 0 for none.
        path_length_weight: Weight of the path lengths' deviation; 0 for no such updates.
        path_length_interval: Steps from one update on it to the next; 0 for none.
        style_mixing_prob: Probability that a batch has mixed styles.
        ada_target: The E[sign D(real)] that augmentation is to hold (0.6 in arXiv:2006.06676); `None` augments nothing.
        ada_images: Images in which the probability of an augmentation moves by 1.
        freeze_d: Sizes, from the largest, of which the discriminator's layers stay as they are (arXiv:2002.10964).
        truncation_cutoff: Layers, from the coarsest, that `sample`'s truncation reaches; all by default.
        lr_g: Learning rate of the generator, corrected for the updates on its regularizer as are `betas` (App. B).
        lr_d: Learning rate of the discriminator, likewise.
        betas: Adam's decay rates.
        generator: Replaces the paper's generator, with `mapping`, `synthesis` and `num_ws` like it.
        discriminator: Replaces the paper's discriminator, with `blocks` like it where `freeze_d` is given.
        **options: See `gan_modules.families.latent.LatentGAN`.
    """

    paper = "Analyzing and Improving the Image Quality of StyleGAN"
    arxiv = "1912.04958"
    year = 2020

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
        style_mixing_prob: float = 0.9,
        ada_target: float | None = None,
        ada_images: int = 500_000,
        freeze_d: int = 0,
        truncation_cutoff: int | None = None,
        lr_g: float = 2e-3,
        lr_d: float = 2e-3,
        betas: tuple[float, float] = (0.0, 0.99),
        generator: nn.Module | None = None,
        discriminator: nn.Module | None = None,
        **options: Unpack[LatentOptions],
    ) -> None:
        if r1_interval < 0 or path_length_interval < 0:
            raise GANError(f"{r1_interval=} and {path_length_interval=} must be numbers of steps, or 0 for never.")
        if ada_images < 1 or freeze_d < 0:
            raise GANError(f"{ada_images=} must be a number of images, and {freeze_d=} one of sizes.")
        label_dim = num_classes if conditional else 0
        sizes: dict[str, Any] = {
            "channel_base": channel_base,
            "channel_max": channel_max,
            "half_precision_layers": half_precision_layers,
            "conv_clamp": conv_clamp,
        }
        super().__init__(
            generator or StyleGAN2Generator(image_shape, latent_dim, label_dim, style_dim, mapping_layers, **sizes),
            discriminator
            or StyleGAN2Discriminator(image_shape, label_dim, residual=residual, stddev_group=stddev_group, **sizes),
            image_shape=image_shape,
            num_classes=label_dim,
            latent_dim=latent_dim,
            optimizer_g=adam(lr_g, betas),
            optimizer_d=adam(lr_d, betas),
            style_mixing_prob=style_mixing_prob,
            truncation_cutoff=truncation_cutoff,
            **options,
        )
        self.r1_weight, self.r1_interval = r1_weight, r1_interval
        self.path_length_weight, self.path_length_interval = path_length_weight, path_length_interval
        self.register_buffer("path_length", torch.zeros(()))
        if ada_target is not None:
            self.augment = AdaptiveAugmentation(augment_bgc, ada_target, ada_images)
        for block in islice(self.discriminator.blocks.values(), freeze_d):
            block.requires_grad_(False)

    def phases(self) -> list[Phase]:
        """Return the generator's update, its regularizer, the discriminator's update, its regularizer."""
        phases = [Phase("generator", self.generator_losses, fresh=True)]
        if self.path_length_interval:
            every = self.path_length_interval
            phases.append(Phase("generator", self.path_length_losses, every, name="path_length"))
        phases.append(Phase("discriminator", self.discriminator_losses, fresh=True))
        if self.r1_interval:
            phases.append(Phase("discriminator", self.r1_losses, self.r1_interval, name="r1"))
        return phases

    def inputs(self, batch: Any) -> Inputs:
        """Return a latent game's inputs; every few steps the augmentation is adjusted before."""
        if self.adapts and self.trainer.global_step % ADA_INTERVAL == 0:
            self.augment.adjust()
        return super().inputs(batch)

    @property
    def adapts(self) -> bool:
        """Whether the augmentation is adaptive."""
        return isinstance(self.augment, AdaptiveAugmentation)

    def generator_losses(self, x: Inputs) -> Losses:
        """Return -log D(G(z))."""
        return {"adversarial": losses.non_saturating_g(self.logits(x.fake, *x.condition))}

    def path_length_losses(self, x: Inputs) -> Losses:
        """Return the path lengths' deviation from their running mean (Eq. 4), on half a batch.

        Of weight 0 there is nothing to update. Adam is corrected for such a phase all the same, as in the published
        code, whose configuration for CIFAR-10 is of this kind.
        """
        if not self.path_length_weight:
            return {}
        with torch.autocast(self.device.type, enabled=False), force_eager():
            styles = self.mixed_styles(x.redraw(max(1, len(x) // 2)))
            lengths = regularizers.path_lengths(self.generator.synthesis(styles), styles)
        # The mean keeps its graph, as in the published code
        mean = self.path_length.to(lengths).lerp(lengths.mean(), PATH_LENGTH_DECAY)
        self.path_length.copy_(self.loop.mean(mean.detach()))
        weight = self.path_length_weight * self.path_length_interval
        return {"path_length": weight * (lengths - mean).square().mean()}

    def discriminator_losses(self, x: Inputs) -> Losses:
        """Return the loss on reals and fakes."""
        images = x.fake
        real = self.logits(x.real, *x.condition)
        if self.adapts:
            self.augment.observe(real, self._sum)
        return {"non_saturating": losses.minimax_d(real, self.logits(images, *x.condition))}

    def r1_losses(self, x: Inputs) -> Losses:
        """Return R1 around the reals, through their augmentation (arXiv:1801.04406)."""
        if not self.r1_weight:
            return {}
        weight = self.r1_weight * self.r1_interval
        return {"r1": weight * regularizers.r1(self.logits, x.real, *x.condition)}

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Let no gradient be infinite, as in the published code; where there is a scaler, it skips such steps."""
        if self.trainer.scaler is None:
            for parameter in optimizer.param_groups[0]["params"]:
                if parameter.grad is not None:
                    parameter.grad.nan_to_num_(0.0, LARGEST_GRADIENT, -LARGEST_GRADIENT)
        super().on_before_optimizer_step(optimizer)

    def extra_metrics(self) -> dict[str, float]:
        """Return the mean path length, and the probability of an augmentation."""
        values = {"path_length": self.path_length.item()}
        return values | {"augmentation": self.augment.p.item()} if self.adapts else values

    def _sum(self, values: Tensor) -> Tensor:
        return self.loop.mean(values) * self.trainer.world_size
