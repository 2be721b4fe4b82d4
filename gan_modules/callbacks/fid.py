"""The Frechet distance between generated and real samples at every validation."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from gan_modules.callbacks.scores import Scores
from gan_modules.errors import GANError


class FID(Scores):
    """Frechet Inception Distance (arXiv:1706.08500, eq. 6) of the model's samples to the validation data.

    Logs ``val/fid`` (``test/fid`` in ``trainer.test``), which ``ModelCheckpoint(monitor="val/fid")`` can watch.
    The protocol is the published one: images rounded to uint8, grey repeated to RGB, TensorFlow's Inception of
    2015 with its own bilinear resize, float64 statistics. With another feature network, and for other samples than
    images, the score is called ``val/fd_<feature.name>``, since the two do not compare. All else is as in `Scores`.

    Args:
        feature: Feature network; see `Scores`.
        weights: File of Inception's weights; by default torch-fidelity's, downloaded once to torch.hub's folder.
        num_samples: Samples to generate, with the reals' classes or captions; by default as many as reals.
        batch_size: Samples through the generator and the feature network at a time.
        seed: Seed of the latents, which depend on `batch_size` too.

    Raises:
        GANError: If the arguments do not fit; before training, if the weights are missing or damaged, or the feature
            network does not take the model's samples; at validation, if there are fewer than two reals.
    """

    def __init__(
        self,
        feature: nn.Module | None = None,
        weights: str | Path | None = None,
        num_samples: int | None = None,
        batch_size: int = 64,
        seed: int = 0,
    ) -> None:
        if feature is not None and weights is not None:
            raise GANError("FID's weights are Inception's: leave them out where a feature network is given.")
        super().__init__(["fid"], feature, weights, num_samples, batch_size=batch_size, seed=seed)
