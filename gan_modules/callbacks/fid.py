"""The Frechet distance between generated and real images, at every validation."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from gan_modules.callbacks.scores import Scores
from gan_modules.errors import GANError


class FID(Scores):
    """Frechet Inception Distance (arXiv:1706.08500, eq. 6) of the model's samples to the validation images.

    Logs ``val/fid`` (``test/fid`` in ``trainer.test``), which ``ModelCheckpoint(monitor="val/fid")`` can watch.
    The protocol is the published one: images rounded to uint8, grey repeated to RGB, TensorFlow's Inception of
    2015 with its own bilinear resize, float64 statistics. With another feature network the score is called
    ``val/fd_<feature.name>``, since the two do not compare. All else is as in `Scores`.

    Args:
        feature: Network from uint8 images ``(N, C, H, W)`` to features ``(N, num_features)``, with attributes
            `num_features` and, for the score's name, `name`; by default Inception.
        weights: File of Inception's weights; by default torch-fidelity's, downloaded once to torch.hub's folder.
        num_samples: Images to generate, their classes in the reals' proportions; by default as many as reals.
        batch_size: Images through the generator and the feature network at a time.
        seed: Seed of the latents, which depend on `batch_size` too.

    Raises:
        GANError: If the arguments do not fit; before training, if the weights cannot be had or the model's
            samples are nothing that the feature network sees; at validation, if there are fewer than two reals.
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
        features = "inception" if feature is None else feature
        super().__init__(["fid"], features, weights, num_samples, batch_size=batch_size, seed=seed)

    @property
    def score(self) -> str:
        """The score's name in logs, after ``val/`` or ``test/``."""
        return "fid" if isinstance(self.features, str | Path) else f"fd_{self.features.name}"
