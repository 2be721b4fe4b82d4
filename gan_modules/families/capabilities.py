"""What a model can do, whatever its class: callbacks, scores, tools and commands ask for these."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar, runtime_checkable

from torch import Tensor, nn

from gan_modules.engine.class_names import Labels
from gan_modules.errors import GANError
from gan_modules.families.data_spec import Kind

C = TypeVar("C")


@runtime_checkable
class Samples(Protocol):
    """Makes samples from noise."""

    kind: Kind
    sample_shape: tuple[int, ...]
    num_classes: int

    def sample(
        self,
        n: int,
        *,
        labels: Labels | None = None,
        captions: Tensor | None = None,
        z: Tensor | None = None,
        seed: int | None = None,
        truncation: float = 1.0,
        ema: bool = True,
    ) -> Tensor:
        """Return samples ``(n, *sample_shape)`` in [-1, 1] (points anywhere)."""

    def sample_like(self, batch: Any, *, seed: int | None = None, ema: bool = True) -> Tensor:
        """Return as many samples as the batch holds, of the batch's labels, captions or other conditions."""

    def draw_latents(self, n: int, seed: int | None = None) -> Tensor:
        """Return latents ``(n, …)``: the same seed gives the same ones on every device."""

    def sample_condition(self, n: int, labels: Labels | None = None, captions: Tensor | None = None) -> tuple[Any, ...]:
        """Return the conditions of `n` samples, as `sample_from` takes them."""

    def sample_from(
        self, z: Tensor, condition: tuple[Any, ...] = (), *, truncation: float = 1.0, ema: bool = True
    ) -> Tensor:
        """Return the samples of latents ``(N, …)`` and their conditions."""


@runtime_checkable
class Translates(Protocol):
    """Turns images of one domain into images of another."""

    image_shape: tuple[int, ...]
    target_shape: tuple[int, ...]

    @property
    def directions(self) -> tuple[str, ...]:
        """The directions it knows, such as ``("AtoB", "BtoA")``."""

    def translate(
        self,
        images: Tensor,
        direction: Any = "AtoB",
        *,
        stochastic: bool = False,
        seed: int | None = None,
        ema: bool = True,
    ) -> Tensor:
        """Return translations ``(N, C, H, W)`` in [-1, 1] of images ``(N, C, H, W)`` in [-1, 1]."""


@runtime_checkable
class Encodes(Protocol):
    """Finds the latents of samples."""

    def encode(self, samples: Tensor) -> Tensor:
        """Return latents ``(N, …)`` of samples ``(N, *sample_shape)``."""

    def reconstruct(self, samples: Tensor) -> Tensor:
        """Return the samples that the latents of `samples` make."""


@runtime_checkable
class Classifies(Protocol):
    """Tells the class of samples."""

    def classify(self, samples: Tensor) -> Tensor:
        """Return class probabilities ``(N, K)`` of samples ``(N, *sample_shape)``."""


@runtime_checkable
class ScoresAnomalies(Protocol):
    """Tells how strange samples are."""

    def anomaly_score(self, samples: Tensor) -> Tensor:
        """Return scores ``(N,)``, larger for stranger; each sample's own, whatever the others."""


@runtime_checkable
class Judges(Protocol):
    """Has a discriminator that tells real samples from generated ones."""

    def realness(self, samples: Tensor, *condition: Any) -> Tensor:
        """Return how real samples look ``(N,)``, larger for more real, given the conditions of each."""


@runtime_checkable
class HasStyles(Samples, Protocol):
    """Makes samples in two steps, latents to styles and styles to samples."""

    truncation_cutoff: int | None

    def to_styles(
        self, z: Tensor, condition: tuple[Any, ...] = (), *, truncation: float = 1.0, ema: bool = True
    ) -> Tensor:
        """Return styles ``(N, L, D)`` of latents ``(N, latent_dim)``."""

    def from_styles(self, styles: Tensor, *, ema: bool = True) -> Tensor:
        """Return samples in [-1, 1] of styles ``(N, L, D)``, as `sample` makes them."""


@runtime_checkable
class SamplesByNetwork(Samples, Protocol):
    """Makes samples by one network, which can be taken out of the model."""

    def averaged(self, name: str, ema: bool = True) -> nn.Module:
        """Return the moving average of the network of that name, or the network where it has none."""

    def synthesize(self, generator: nn.Module, z: Tensor, *condition: Any, truncation: float) -> Tensor:
        """Return samples of latents ``(N, …)`` and their conditions by the given "generator"."""


@runtime_checkable
class TranslatesByNetworks(Translates, Protocol):
    """Translates by a network for each direction, which can be taken out of the model."""

    def translators(self, ema: bool = False) -> Any:
        """Return the networks by direction, or their averages, where there are some."""


NEEDS = {
    Samples: "a model that makes samples from noise",
    Translates: "a model that translates images",
    Encodes: "a model that encodes samples",
    Classifies: "a model that classifies samples",
    ScoresAnomalies: "a model that scores anomalies",
    Judges: "a model with a discriminator whose realness() can be asked",
    HasStyles: "a model with styles, such as StyleGAN",
    SamplesByNetwork: "a model that makes samples by one network",
    TranslatesByNetworks: "a model that translates by a network for each direction",
}


def require(model: Any, capability: type[C], asker: str) -> C:
    """Return the model, known to have a capability.

    Args:
        model: The model.
        capability: One of the protocols above.
        asker: Who needs it, for the message: a callback's or a command's name.

    Raises:
        GANError: If the model lacks it.
    """
    if isinstance(model, capability):
        return model
    members = {name for cls in capability.__mro__ for name in (*vars(cls), *getattr(cls, "__annotations__", ()))}
    missing = sorted(name for name in members if not name.startswith("_") and not hasattr(model, name))
    raise GANError(
        f"{asker} needs {NEEDS[capability]}, and {type(model).__name__} is none, for want of {', '.join(missing)}: "
        f"leave {asker} out."
    )
