"""One line a model: a tiny configuration, and the batches that it is trained on."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import gan_modules.models
from gan_modules import GAN

Batch = tuple[Tensor, ...]


@dataclass(frozen=True)
class Case:
    """How a model is tried.

    Attributes:
        arguments: Of its constructor, for networks so small that a step takes milliseconds.
        batch: From a number of samples and a random generator to a batch.
        couples: What makes the gradient of a sample depend on the batch's other samples; such a model is not promised
            the same updates when a batch is cut in parts or spread over processes.
        cosine: Least cosine between a first update in bf16-mixed and in float64.
    """

    arguments: dict[str, Any]
    batch: Callable[[int, torch.Generator], Batch]
    couples: str = ""
    cosine: float = 0.99


def samples(*shape: int, classes: int = 0) -> Callable[[int, torch.Generator], Batch]:
    """Samples in [-1, 1]; with labels where there are classes."""

    def make(size: int, source: torch.Generator) -> Batch:
        values = torch.rand(size, *shape, generator=source) * 2 - 1
        return (values, torch.randint(classes, (size,), generator=source)) if classes else (values,)

    return make


def pairs(source_shape: tuple[int, ...], target_shape: tuple[int, ...]) -> Callable[[int, torch.Generator], Batch]:
    """Images of two domains."""

    def make(size: int, source: torch.Generator) -> Batch:
        sides = (torch.rand(size, *shape, generator=source) * 2 - 1 for shape in (source_shape, target_shape))
        return tuple(sides)

    return make


GREY, COLOUR = (1, 8, 8), (3, 16, 16)
LATENT = {"image_shape": GREY, "latent_dim": 4}
STYLES = {**LATENT, "style_dim": 4, "channel_base": 32, "channel_max": 4, "mapping_layers": 2}
PATCHES = {"image_shape": COLOUR, "base_channels": 4, "discriminator_channels": 4, "patch_layers": 1}
# more images than a test shows, so that the pools hand back what they get
POOLS = {"generator": "resnet_1", "pool_size": 1000}
LAZY = {"r1_interval": 2, "path_length_interval": 2}
GROWING = {"first_size": 4, "lod_training_images": 6, "lod_transition_images": 12}

# fmt: off
CASES: dict[str, Case] = {
    "VanillaGAN": Case({**LATENT, "hidden_dim": 8, "clip_norm": 1.0}, samples(*GREY)),
    "CGAN": Case({**LATENT, "hidden_dim": 8, "num_classes": 3}, samples(*GREY, classes=3)),
    "DCGAN": Case({**LATENT, "base_channels": 2}, samples(*GREY), "BatchNorm"),
    "WGAN": Case({**LATENT, "base_channels": 2, "n_critic": 2}, samples(*GREY), "BatchNorm"),
    "WGANGP": Case({**LATENT, "base_channels": 4, "n_critic": 2, "decay_steps": 20}, samples(*GREY), "BatchNorm in G"),
    "StyleGAN": Case({**STYLES, **GROWING, "num_classes": 3}, samples(*GREY, classes=3), "minibatch stddev"),
    "StyleGAN2": Case({**STYLES, **LAZY, "ada_target": 0.6, "ada_images": 100}, samples(*GREY), "minibatch stddev"),
    "Pix2Pix": Case({**PATCHES, "dropout": False, "norm": "instance", "ema_half_life": 100}, pairs(COLOUR, COLOUR)),
    # its images pass two generators, and the distances hand back signs, which eight bits turn
    "CycleGAN": Case({**PATCHES, **POOLS}, pairs(COLOUR, COLOUR), cosine=0.85),
}
# fmt: on


def concrete_models() -> dict[str, type[GAN]]:
    """The models that the package holds, by name."""
    found = {}
    for module in pkgutil.walk_packages(gan_modules.models.__path__, "gan_modules.models."):
        for name, cls in vars(importlib.import_module(module.name)).items():
            own = inspect.isclass(cls) and issubclass(cls, GAN) and cls.__module__ == module.name
            if own and not inspect.isabstract(cls):
                found[name] = cls
    return found


MODELS = concrete_models()


def case(name: str) -> Case:
    """The line of a model.

    Raises:
        LookupError: If it has none.
    """
    if name not in CASES:
        raise LookupError(
            f"{name} has no line in tests/contracts/cases.py: add a tiny configuration and its batches, so that every "
            f"promise is tried with it."
        )
    return CASES[name]


def build(name: str, **options: Any) -> GAN:
    """The model in its tiny configuration; each time with the same weights."""
    torch.manual_seed(0)
    return MODELS[name](**case(name).arguments | options)


def batches(name: str, count: int, size: int = 6) -> list[Batch]:
    """Batches that all differ; each time the same."""
    source = torch.Generator().manual_seed(1)
    return [case(name).batch(size, source) for _ in range(count)]
