"""Diversity of the samples, and how evenly they change with the latents."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.utilities.data import dim_zero_cat

from gan_modules.errors import GANError
from gan_modules.functional.latents import slerp
from gan_modules.functional.paths import perceptual_path_lengths, trimmed_mean
from gan_modules.metrics.base import FeatureMetric
from gan_modules.metrics.features import ModuleFeatures
from gan_modules.metrics.networks import feature_network


class PerceptualDiversity(FeatureMetric):
    """Mean squared distance of features over **all** pairs of fakes: by ``lpips``, mean LPIPS (arXiv:1711.11586, 5.2).

    It equals twice the trace of the features' covariance, so sums suffice for any number of pairs.

    Args:
        network: See `FeatureMetric`.
    """

    base_names = (("diversity", "diversity"),)
    needs_reals = False
    higher_is_better = True
    count: Tensor
    total: Tensor
    squares: Tensor

    def __init__(self, network: str | Path | nn.Module = "lpips") -> None:
        super().__init__(network)
        self.add_state("count", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("total", torch.zeros(self.network.num_features, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("squares", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update_state(self, features: Tensor, real: bool) -> None:
        """Add the fakes' features ``(N, D)`` and their squares."""
        features = features.double()
        self.count = self.count + len(features)
        self.total = self.total + features.sum(dim=0)
        self.squares = self.squares + features.square().sum()

    def compute_values(self) -> tuple[Tensor, ...]:
        """Return the mean over all pairs."""
        if self.count < 2:
            raise ValueError(f"at least two samples are needed, and there are {int(self.count)}.")
        return (2 * (self.squares - self.total.square().sum() / self.count) / (self.count - 1),)


class PerceptualPathLength(Metric):
    """Perceptual path length (arXiv:1812.04948, eq. 2 and 3): how unevenly images change along paths of latents.

    The mean of d(G(p(t)), G(p(t + ε))) / ε² over paths p, where d is LPIPS or the squared distance of any features. As
    in the authors' code, the lowest and the highest hundredth are left out. Images are not rounded to uint8.

    Args:
        network: See `FeatureMetric`.
        epsilon: The step.
        path: From two latents ``(N, D)`` and t ``(N, 1)`` to the latent between: `slerp` in Z, `torch.lerp` in W.

    Raises:
        GANError: If the network takes no images, or takes bytes, whose features no small step changes.
    """

    deviation = ""
    needs_reals = False
    is_differentiable = False
    higher_is_better = False
    full_state_update = False
    lengths: list[Tensor]

    def __init__(
        self,
        network: str | Path | nn.Module = "lpips",
        epsilon: float = 1e-4,
        path: Callable[[Tensor, Tensor, Tensor], Tensor] = slerp,
    ) -> None:
        super().__init__()
        self.network = feature_network(network)
        if isinstance(self.network, ModuleFeatures) or self.network.kind != "image":
            raise GANError(
                f"Path lengths need a FeatureNetwork of images, and '{self.network.name}' is none: choose another, or "
                f"leave out ppl."
            )
        self.epsilon = epsilon
        self.path = path
        self.add_state("lengths", [], dist_reduce_fx="cat")

    @property
    def names(self) -> tuple[str, ...]:
        """The score's name: ``ppl_lpips``."""
        return (f"ppl_{self.network.name}",)

    def update(self, generate: Callable[[Tensor], Tensor], a: Tensor, b: Tensor, t: Tensor) -> None:
        """Add a step on each path.

        Args:
            generate: From latents to images ``(N, C, H, W)`` in [-1, 1].
            a: Latents at the start of the paths, ``(N, D)``.
            b: Latents at the end of the paths, ``(N, D)``.
            t: Where the step starts, ``(N,)`` in [0, 1]; zeros for the authors' "end" sampling.
        """
        t = t.view(-1, 1)
        with torch.inference_mode():
            start, end = self.path(a, b, t), self.path(a, b, t + self.epsilon)
            lengths = perceptual_path_lengths(generate, self._embed, start, end, self.epsilon)
        self.lengths.append(lengths.to(self.device))

    def compute(self) -> dict[str, Tensor]:
        """Return the trimmed mean by name, over all processes.

        Raises:
            GANError: If there are no paths.
        """
        lengths = dim_zero_cat(self.lengths) if len(self.lengths) else torch.empty(0)
        if not lengths.numel():
            raise GANError("PerceptualPathLength cannot score: there are no paths.")
        return {self.names[0]: trimmed_mean(lengths)}

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Gather the lengths of all processes; one without paths takes part with none."""
        self.lengths = self.lengths or [torch.empty(0, dtype=torch.float64, device=self.device)]
        super().sync(*args, **kwargs)

    def _embed(self, images: Tensor) -> Tensor:
        return self.network.checked_features((images.float() + 1) * 127.5)
