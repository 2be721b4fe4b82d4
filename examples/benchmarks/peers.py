r"""Other libraries' trainers, as they come from the package registry, against ours on the peers' own networks.

Install them beside the environment, not in it (their requirements are of other times), in a folder:

    pip install --no-deps --target build/peers torch-mimicry torchgan stylegan2-pytorch \
        vector-quantize-pytorch==0.1.0 einops kornia kornia_rs
    python -m examples.benchmarks.run torchgan

Both sides get the same batches, play the same game with the same optimizers' settings, and log as they do by default.
Ours differs in what the table is about: channels_last, fused Adam, one batch of fakes for both phases, the other
player frozen, no ``.item()`` in a step. The peers' shims only make their imports work and keep them on the CPU.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, cast
from unittest import mock

import torch
import torchvision
from torch import Tensor, nn

from examples.benchmarks.games import DEVICE, HELD, by_hand, under_trainer
from examples.benchmarks.pairs import Batches, Comparison, Pace, Side
from gan_modules.engine.inputs import Inputs
from gan_modules.engine.players import Losses, adam
from gan_modules.families.latent import LatentGAN
from gan_modules.functional import losses, regularizers

FOLDER = "GAN_MODULES_PEERS"  # the variable with the folder that --peers names
BATCH = 64
LR = 2e-4


class OnTheirNets(LatentGAN):
    """Our engine's training of a peer's networks.

    Args:
        generator: From latents to images.
        discriminator: From images to logits.
        loss_d: From the discriminator, reals, fakes and the number of its updates before to its terms.
        loss_g: From the logits of fakes to the generator's loss.
        image_size: Height and width.
        latent_dim: Size of the latent vector.
        betas: Adam's.
        n_critic: Updates of the discriminator in a step.
        lr_d: Its learning rate.
        **options: See `gan_modules.GAN`.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        loss_d: Callable[[nn.Module, Tensor, Tensor, int], Losses],
        loss_g: Callable[[Tensor], Tensor],
        *,
        image_size: int = 32,
        latent_dim: int = 128,
        betas: tuple[float, float] = (0.0, 0.9),
        n_critic: int = 5,
        lr_d: float = LR,
        **options: Any,
    ) -> None:
        super().__init__(
            generator=generator,
            discriminator=discriminator,
            image_shape=(3, image_size, image_size),
            latent_dim=latent_dim,
            optimizer_g=adam(LR, betas),
            optimizer_d=adam(lr_d, betas),
            n_critic=n_critic,
            **options,
        )
        self.loss_d = loss_d
        self.loss_g = loss_g
        self.updates_d = 0

    def discriminator_losses(self, x: Inputs) -> Losses:
        self.updates_d += 1
        return self.loss_d(self.discriminator, x.real, x.fake, self.updates_d - 1)

    def generator_losses(self, x: Inputs) -> Losses:
        return {"adversarial": self.loss_g(self.discriminator(x.fake))}


def hinge(net: nn.Module, real: Tensor, fake: Tensor, number: int) -> Losses:
    return {"hinge": losses.hinge_d(net(real), net(fake))}


def minimax(net: nn.Module, real: Tensor, fake: Tensor, number: int) -> Losses:
    return {"minimax": losses.minimax_d(net(real), net(fake))}


def wasserstein(net: nn.Module, real: Tensor, fake: Tensor, number: int) -> Losses:
    return {
        "critic": losses.wasserstein_d(net(real), net(fake)),
        "gradient_penalty": 10.0 * regularizers.gradient_penalty(net, real, fake, skip_zero_curvature=True),
    }


# ---- torch-mimicry ---------------------------------------------------------------------------------------------------

MIMICRY: dict[str, tuple[str, str, Any, Any, tuple[float, float], int]] = {
    "mimicry_dcgan": ("dcgan", "DCGAN", minimax, losses.non_saturating_g, (0.5, 0.999), 1),
    "mimicry_sngan": ("sngan", "SNGAN", hinge, losses.hinge_g, (0.0, 0.9), 5),
    "mimicry_wgan_gp": ("wgan_gp", "WGANGP", wasserstein, losses.wasserstein_g, (0.0, 0.9), 5),
}


def mimicry(name: str) -> Comparison:
    """One of torch-mimicry's games at 32 pixels, by its trainer and by ours."""
    package, class_name, loss_d, loss_g, betas, n_critic = MIMICRY[name]

    def nets() -> tuple[nn.Module, nn.Module]:
        import_mimicry()
        nets = importlib.import_module(f"torch_mimicry.nets.{package}.{package}_32")
        return getattr(nets, f"{class_name}Generator32")(), getattr(nets, f"{class_name}Discriminator32")()

    def theirs(pace: Pace) -> None:
        generator, discriminator = nets()
        from torch_mimicry.training.trainer import Trainer

        with contextlib.suppress(StopIteration):  # as it asks for the next pass of a loader that has ended
            Trainer(
                netD=discriminator,
                netG=generator,
                optD=torch.optim.Adam(discriminator.parameters(), LR, betas),
                optG=torch.optim.Adam(generator.parameters(), LR, betas),
                dataloader=Batches(pace, made_up(32), n_critic),
                num_steps=10**9,
                n_dis=n_critic,
                device=DEVICE,
                log_dir="mimicry",
            ).train()

    def ours(**options: Any) -> OnTheirNets:
        return OnTheirNets(*nets(), loss_d, loss_g, betas=betas, n_critic=n_critic, **options)

    about = f"torch-mimicry's {class_name} at 32 pixels, batch {BATCH}, {n_critic} updates of the discriminator a step"
    return against_ours(about, "torch-mimicry", theirs, ours)


def import_mimicry() -> None:
    """Make its parts importable without its own __init__, which asks for tensorflow and lmdb, and without skimage."""
    add_folder()
    if "torch_mimicry" not in sys.modules:
        (folder,) = cast(ModuleSpec, importlib.util.find_spec("torch_mimicry")).submodule_search_locations or ()
        sys.modules["torch_mimicry"] = package = ModuleType("torch_mimicry")
        package.__path__ = [folder]
        sys.modules["skimage"] = stub("skimage", io=None)


# ---- torchgan --------------------------------------------------------------------------------------------------------


def torchgan() -> Comparison:
    """DCGAN of torchgan at 32 pixels, by its trainer and by ours."""
    betas = (0.5, 0.999)

    def theirs(pace: Pace) -> None:
        add_folder()
        from torchgan.losses import MinimaxDiscriminatorLoss, MinimaxGeneratorLoss
        from torchgan.models import DCGANDiscriminator, DCGANGenerator
        from torchgan.trainer import Trainer

        optimizer = {"name": torch.optim.Adam, "args": {"lr": LR, "betas": betas}}
        models = {
            "generator": {"name": DCGANGenerator, "optimizer": optimizer},
            "discriminator": {"name": DCGANDiscriminator, "optimizer": optimizer},
        }
        trainer = Trainer(models, [MinimaxGeneratorLoss(), MinimaxDiscriminatorLoss()], device=DEVICE, epochs=1)
        make_grid = torchvision.utils.make_grid
        torchvision.utils.make_grid = lambda images, range=None, **options: make_grid(
            images, value_range=range, **options
        )
        trainer(Batches(pace, made_up(32)))

    def ours(**options: Any) -> OnTheirNets:
        add_folder()
        from torchgan.models import DCGANDiscriminator, DCGANGenerator

        return OnTheirNets(
            DCGANGenerator(),
            DCGANDiscriminator(),
            minimax,
            losses.non_saturating_g,
            latent_dim=100,
            betas=betas,
            n_critic=1,
            **options,
        )

    about = f"torchgan's DCGAN at 32 pixels, 64 channels, batch {BATCH}; its trainer updates the generator first"
    return against_ours(about, "torchgan", theirs, ours)


# ---- stylegan2-pytorch -----------------------------------------------------------------------------------------------

STYLE_SIZE, STYLE_BATCH, CAPACITY = 64, 16, 8  # pixels; images; the unit of its networks' widths
LAZY = 4  # steps from one gradient penalty to the next


def stylegan2() -> Comparison:
    """stylegan2-pytorch's game at 64 pixels, by its trainer and by ours."""

    def theirs(pace: Pace) -> None:
        trainer = import_stylegan2().Trainer(
            image_size=STYLE_SIZE,
            batch_size=STYLE_BATCH,
            network_capacity=CAPACITY,
            save_every=10**9,
            evaluate_every=10**9,
            calculate_fid_every=None,
        )
        trainer.steps = 3000  # past its grids of samples every 100 steps, before path lengths and averages
        trainer.loader = (images for images, _ in Batches(pace, made_up(STYLE_SIZE, STYLE_BATCH), LAZY))
        with contextlib.suppress(StopIteration):
            while True:
                trainer.train()

    def ours(**options: Any) -> OnTheirNets:
        peer = import_stylegan2()
        nets = peer.StyleGAN2(STYLE_SIZE, network_capacity=CAPACITY)
        return OnTheirNets(
            StyleGenerator(nets.S, nets.G),
            FirstOutput(nets.D),
            hinge_with_lazy_penalty,
            torch.mean,
            image_size=STYLE_SIZE,
            latent_dim=2 * nets.G.latent_dim,
            betas=(0.5, 0.9),
            n_critic=1,
            lr_d=2 * LR,
            **options,
        )

    about = (
        f"stylegan2-pytorch's game at {STYLE_SIZE} pixels, capacity {CAPACITY}, batch {STYLE_BATCH}; the table counts "
        f"by {LAZY} steps, the first with the gradient penalty; its path lengths and averages begin after 5,000 and "
        f"20,000 steps"
    )
    return against_ours(about, "stylegan2-pytorch", theirs, ours, STYLE_BATCH, LAZY)


class StyleGenerator(nn.Module):
    """Its mapping and synthesis with mixing of styles and noise, as its trainer puts them together.

    Args:
        mapping: From a latent to its style.
        synthesis: From a style a layer, and noise, to images.
    """

    def __init__(self, mapping: nn.Module, synthesis: Any) -> None:
        super().__init__()
        self.mapping = mapping
        self.synthesis = synthesis

    def forward(self, z: Tensor) -> Tensor:
        layers = self.synthesis.num_layers
        first = int(torch.rand(()) * layers) if torch.rand(()) < 0.9 else 0
        styles = torch.stack([self.mapping(half) for half in z.chunk(2, dim=1)], dim=1)
        which = (torch.arange(layers, device=z.device) >= first).long()
        size = self.synthesis.image_size
        return self.synthesis(styles[:, which], torch.rand(len(z), size, size, 1, device=z.device))


class FirstOutput(nn.Module):
    """Its discriminator, which also returns a loss of quantisation that is not used.

    Args:
        network: The discriminator.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)[0]


def hinge_with_lazy_penalty(net: nn.Module, real: Tensor, fake: Tensor, number: int) -> Losses:
    """Its objective: reals are to score low, and every fourth step gradients at both kinds of images to vanish."""
    lazy = number % LAZY == 0
    images = [images.detach().requires_grad_(lazy) for images in (real, fake)]
    scores = [net(kind).float() for kind in images]
    terms = {"hinge": (torch.relu(1 + scores[0]) + torch.relu(1 - scores[1])).mean()}
    if lazy:
        gradients = torch.autograd.grad([score.sum() for score in scores], images, create_graph=True)
        terms["gradient_penalty"] = 10 * sum(g.flatten(1).square().sum(1).mean() for g in gradients)
    return terms


def import_stylegan2() -> Any:
    """Its module, which insists on a GPU and on packages for its shell command and its log."""
    add_folder()
    if "stylegan2_pytorch" not in sys.modules:
        sys.modules |= {name: stub(name) for name in ("fire", "aim")}
        if DEVICE.type == "cpu":
            nn.Module.cuda = Tensor.cuda = lambda self, *_: self
        with mock.patch.object(torch.cuda, "is_available", return_value=True):
            importlib.import_module("stylegan2_pytorch.stylegan2_pytorch")
    return sys.modules["stylegan2_pytorch.stylegan2_pytorch"]


# ---- Both ------------------------------------------------------------------------------------------------------------


def against_ours(
    about: str,
    peer: str,
    theirs: Callable[[Pace], None],
    ours: Callable[..., OnTheirNets],
    batch_size: int = BATCH,
    of: int = 1,
) -> Comparison:
    """A peer's trainer, ours in its number format, and ours in bfloat16 where that is safe; none keeps an average.

    The loop written by hand beside them shows what there is to be had from these networks on this machine.
    """

    def side(precision: str) -> Side:
        return under_trainer(ours, batch_size, precision, of, ema_half_life=0)

    sides = {
        peer: theirs,
        "loop by hand": by_hand(ours, batch_size, of),
        "Trainer": side("32-true"),
        "Trainer, bf16-mixed": side("bf16-mixed"),
    }
    return Comparison(about, sides, {name: peer for name in sides if name != peer})


def made_up(size: int, batch_size: int = BATCH) -> list[tuple[Tensor, Tensor]]:
    """Images in [-1, 1] and labels that nobody needs."""
    return [(torch.rand(batch_size, 3, size, size) * 2 - 1, torch.zeros(batch_size).long()) for _ in range(HELD)]


def add_folder() -> None:
    """Let the peers be found, after everything of our own environment."""
    if (folder := os.environ[FOLDER]) not in sys.path:
        sys.path.append(folder)


def stub(name: str, **members: Any) -> ModuleType:
    """A module with nothing but the given members."""
    module = ModuleType(name)
    module.__dict__.update(members)
    return module
