"""How far two images are apart to the eye, for projection."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

from gan_modules.errors import GANError
from gan_modules.metrics.weights import read_weights

Distance = Callable[[Tensor, Tensor], Tensor]  # of images (N, C, H, W) and (N, C, H, W) in [-1, 1]: (N,)
VGG_FILE = "vgg16-397923af.pth"
SEEN = 256  # the largest height and width that LPIPS is shown, in pixels (arXiv:1912.04958, App. D)


class LPIPS:
    """Learned perceptual similarity by VGG16 (arXiv:1801.03924), of grey or RGB images.

    Raises:
        GANError: If VGG16's weights are not in torch.hub's folder and cannot be downloaded, or are damaged there.
    """

    def __init__(self) -> None:
        path = Path(torch.hub.get_dir()) / "checkpoints" / VGG_FILE
        if path.is_file():
            read_weights(path, f"torchvision's {VGG_FILE}")  # nothing in it is executed, as torchvision's reader would
        try:
            with torch.random.fork_rng(devices=[]):
                self.network: nn.Module = LearnedPerceptualImagePatchSimilarity(net_type="vgg").net
        except OSError as error:
            raise GANError(
                f"LPIPS needs VGG16's weights, which could not be downloaded ({error}): put torchvision's {VGG_FILE} "
                f"into {path.parent}."
            ) from error

    def __call__(self, images: Tensor, others: Tensor) -> Tensor:
        """Distances ``(N,)``."""
        pairs = [self._fit(images), self._fit(others)]
        distances: Tensor = self.network.to(images.device)(*pairs)
        return distances.flatten()

    def _fit(self, images: Tensor) -> Tensor:
        images = images[:, :3] if images.shape[1] >= 3 else images[:, :1].expand(-1, 3, -1, -1)
        return F.interpolate(images, (SEEN, SEEN), mode="area") if images.shape[-1] > SEEN else images


class PixelsAndFeatures:
    """Mean squared differences of pixels and of the discriminator's features, for want of LPIPS.

    The features are the discriminator's last maps of each size, every place's of unit length, as in LPIPS.

    Args:
        discriminator: The discriminator.
        condition: What it takes beside an image, a row each: ``(labels,)`` with labels ``(1,)`` in a conditional game.
    """

    def __init__(self, discriminator: nn.Module, condition: tuple[Tensor, ...] = ()) -> None:
        self.discriminator = discriminator
        self.condition = condition

    def __call__(self, images: Tensor, others: Tensor) -> Tensor:
        """Distances ``(N,)``."""
        differences = [
            (own - other).square().flatten(1).sum(1) / own[0, 0].numel()
            for own, other in zip(self._features(images), self._features(others), strict=True)
        ]
        return (images - others).square().flatten(1).mean(1) + torch.stack(differences).mean(0)

    def _features(self, images: Tensor) -> list[Tensor]:
        maps: dict[torch.Size, Tensor] = {}

        def keep(module: nn.Module, inputs: object, output: object) -> None:
            if isinstance(output, Tensor) and output.ndim == 4:
                maps[output.shape[-2:]] = output

        hooks = [module.register_forward_hook(keep) for module in self.discriminator.modules()]
        try:
            self.discriminator(images, *(part.expand(len(images), *part.shape[1:]) for part in self.condition))
        finally:
            for hook in hooks:
                hook.remove()
        return [F.normalize(features.float(), dim=1) for features in maps.values()]


def best_distance(discriminator: nn.Module, condition: tuple[Tensor, ...] = ()) -> Distance:
    """Return LPIPS where its weights are at hand, else `PixelsAndFeatures`, with a warning."""
    try:
        return LPIPS()
    except GANError as error:
        warnings.warn(f"{error} Images are compared by pixels and the discriminator's features instead.", stacklevel=2)
        return PixelsAndFeatures(discriminator, condition)
