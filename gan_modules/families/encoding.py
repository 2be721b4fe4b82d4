"""What games with an encoder share: the latents of samples, and what these latents make of them."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from gan_modules.engine.contexts import evaluating
from gan_modules.families.latent import SAMPLE_CHUNK, LatentGAN
from gan_modules.functional.compiling import force_eager


class EncodingMixin(LatentGAN):
    """A latent game with an encoder, as in BiGAN and ALI (arXiv:1605.09782, 1606.00704).

    A model sets ``self.encoder``, from samples to latents ``(N, latent_dim)``, and gives its parameters to a player. An
    encoder that is stochastic in training is deterministic in evaluation mode.
    """

    encoder: Any

    @torch.no_grad()
    def encode(self, samples: Tensor, *, ema: bool = True) -> Tensor:
        """Return the latents ``(N, latent_dim)`` of samples ``(N, *sample_shape)``, without touching the training.

        Args:
            samples: In [-1, 1] (points anywhere).
            ema: Whether to use the averaged encoder, where `track_average("encoder")` keeps one.
        """
        network = self.averaged("encoder", ema)
        with evaluating(network), force_eager():
            parts = torch.split(samples.to(self.device), SAMPLE_CHUNK)
            return torch.cat([cast(Tensor, network(part)).float() for part in parts])

    def reconstruct(self, samples: Tensor, condition: tuple[Any, ...] = (), *, ema: bool = True) -> Tensor:
        """Return what the generator makes of the samples' latents.

        Args:
            samples: See `encode`.
            condition: The generator's, as from `sample_condition`.
            ema: See `encode`.
        """
        return self.sample_from(self.encode(samples, ema=ema), condition, ema=ema)
