"""Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks: Zhu et al., 2017, arXiv:1703.10593.

Two generators G: A → B and F: B → A, each against a discriminator of its own, with least-squares objectives, and held
together by λ·E|F(G(a)) - a| + λ·E|G(F(b)) - b| (Eq. 2) and, against needless changes of colour, by the identity loss
E|G(b) - b| + E|F(a) - a| (Sec. 5.2). The discriminators see fakes of earlier rounds too (Sec. 4).

=====================  =================================  ==================================
Departure              Paper                              Here
=====================  =================================  ==================================
identity loss          for paintings and photographs      always, as in the published code
last epoch             learning rate 0                    1/101, as in the published code
batch and jitter       1; 286 cropped to 256              the datamodule's arguments
sizes                  128×128 and 256×256                multiples of 4, also two unlike sides
=====================  =================================  ==================================
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack, cast

from torch import Tensor, nn
from torch.nn.functional import l1_loss

from gan_modules.engine.players import GameOptions, Losses, Player, adam
from gan_modules.errors import GANError
from gan_modules.families.translation import BACK, Direction, Pair, TranslationGAN
from gan_modules.functional import losses
from gan_modules.functional.precision import at_least_float32
from gan_modules.networks import build_patchgan, build_translator
from gan_modules.networks.norms import Norm
from gan_modules.techniques.replay import ImagePool


class CycleGAN(TranslationGAN):
    """The game of two generators and two discriminators on unpaired images (arXiv:1703.10593).

    The generators are one player and the discriminators the other; each has one optimizer. ``generators["AtoB"]`` and
    its opponent ``discriminators["AtoB"]``, which judges images of side B, go by their direction.

    Args:
        image_shape: ``(C, H, W)`` of side A.
        target_shape: ``(C, H, W)`` of side B, of any size and channels; by default like side A.
        generator: "resnet_9", "unet_256" and so on, see `gan_modules.networks.build_translator`; by default, as in
            the paper, "resnet_9" for sides of 256 and more, else "resnet_6".
        base_channels: Channels after a generator's first layer.
        discriminator_channels: Channels after a discriminator's first layer.
        patch_layers: Strided layers of the discriminators: 0, 1, 2, 3, 4, 5 for patches of 1, 16, 34, 70, 142, 286.
        norm: "batch" or "instance", in all networks.
        dropout: Whether the generators have dropout.
        cycle_weight_a: Weight of the cycle that starts from side A (the paper's λ).
        cycle_weight_b: Weight of the cycle that starts from side B.
        identity_weight: Weight of the identity loss as a share of the cycles'; 0 where the sides differ in channels.
        pool_size: Earlier fakes kept for each discriminator; 0 shows it the newest alone.
        lr_g: Learning rate of the generators.
        lr_d: Learning rate of the discriminators.
        betas: Adam's decay rates.
        epochs_constant: Epochs at the full learning rates.
        epochs_decay: Epochs in which they then fall to 0 in a straight line; `None` keeps them up.
        **options: See `gan_modules.GAN`; there is no moving average unless asked for.
    """

    def __init__(
        self,
        image_shape: Sequence[int] = (3, 256, 256),
        target_shape: Sequence[int] | None = None,
        generator: str | None = None,
        base_channels: int = 64,
        discriminator_channels: int = 64,
        patch_layers: int = 3,
        norm: Norm = "instance",
        dropout: bool = False,
        cycle_weight_a: float = 10.0,
        cycle_weight_b: float = 10.0,
        identity_weight: float = 0.5,
        pool_size: int = 50,
        lr_g: float = 2e-4,
        lr_d: float = 2e-4,
        betas: tuple[float, float] = (0.5, 0.999),
        epochs_constant: int = 100,
        epochs_decay: int | None = 100,
        **options: Unpack[GameOptions],
    ) -> None:
        super().__init__(image_shape, target_shape, epochs_constant, epochs_decay, **options)
        self.save_hyperparameters()
        a, b = self.image_shape, self.target_shape
        if identity_weight and a[0] != b[0]:
            raise GANError(
                f"The identity loss needs sides with the same channels, not {a[0]} and {b[0]}: pass identity_weight=0."
            )
        if pool_size < 0:
            raise GANError(f"pool_size={pool_size} must not be negative: it is a number of images.")
        name = generator or ("resnet_9" if max(*a[1:], *b[1:]) >= 256 else "resnet_6")
        sides: dict[Direction, tuple[int, int]] = {"AtoB": (a[0], b[0]), "BtoA": (b[0], a[0])}
        self.generators = nn.ModuleDict(
            {
                direction: build_translator(name, source, target, base_channels, norm, dropout)
                for direction, (source, target) in sides.items()
            }
        )
        self.discriminators = nn.ModuleDict(
            {
                direction: build_patchgan(target, discriminator_channels, patch_layers, norm)
                for direction, (_, target) in sides.items()
            }
        )
        self.check_sizes(*self.generators.values(), *self.discriminators.values())
        self.generators_ema = self._averages.follow(self.generators)
        self.cycle_weights: dict[Direction, float] = {"AtoB": cycle_weight_a, "BtoA": cycle_weight_b}
        self.identity_weight = identity_weight
        self.pools: dict[Direction, ImagePool] = {direction: ImagePool(pool_size) for direction in sides}
        self.memory.update({f"image_pool_{direction}": pool for direction, pool in self.pools.items()})
        self._optimizer_g, self._optimizer_d = adam(lr_g, betas), adam(lr_d, betas)

    def translators(self, ema: bool = False) -> dict[Direction, nn.Module]:
        """Both generators."""
        chosen = self.generators_ema if ema and self.generators_ema is not None else self.generators
        return cast(dict[Direction, nn.Module], dict(cast(nn.ModuleDict, chosen).items()))

    def configure_players(self) -> dict[str, Player]:
        """The generators and the discriminators."""
        return {
            "generators": Player(self.generators, self.deceive, self._optimizer_g, self.schedule),
            "discriminators": Player(self.discriminators, self.judge, self._optimizer_d, self.schedule),
        }

    def turns(self, round: int) -> Sequence[Sequence[str]]:
        """One turn: the generators move first."""
        return [("generators", "discriminators")]

    def deceive(self, pair: Pair) -> Losses:
        """Be taken for real, lead back to the start (Eq. 2), and leave alone what is there already (Sec. 5.2)."""
        terms: Losses = {}
        for direction, generator in self.translators().items():
            back = BACK[direction]
            real, other, fake = pair.images[direction], pair.images[back], self.fake(pair, direction)
            logits = at_least_float32(self.discriminators[direction](fake))
            terms[f"adversarial_{direction}"] = (logits - 1).square().mean()  # the published code's, without its ½
            terms[f"cycle_{direction}"] = self.cycle_weights[direction] * _l1(self.generators[back](fake), real)
            if self.identity_weight:
                weight = self.identity_weight * self.cycle_weights[back]
                terms[f"identity_{direction}"] = weight * _l1(generator(other), other)
            pair.fakes[direction] = fake.detach()  # what the discriminator will see
        return terms

    def judge(self, pair: Pair) -> Losses:
        """Tell real images from the pool's fakes, at half weight."""
        terms: Losses = {}
        for direction, discriminator in self.discriminators.items():
            direction = cast(Direction, direction)
            fake = self.pools[direction].exchange(pair.fakes[direction])
            real = pair.images[BACK[direction]]
            terms[f"least_squares_{direction}"] = losses.least_squares_d(discriminator(real), discriminator(fake))
        return terms


def _l1(images: Tensor, reals: Tensor) -> Tensor:
    return l1_loss(at_least_float32(images), reals)
