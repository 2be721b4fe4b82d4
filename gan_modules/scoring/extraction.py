"""Features of images that come batch by batch, and those of reals only where the disk does not know them yet."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import torch
from torch import Tensor

from gan_modules.metrics.features import FeatureNetwork, ModuleFeatures
from gan_modules.scoring.cache import FeatureCache, SetDigest, image_digests

BLOCK_IMAGES = 1024  # images of one file of the cache,
BLOCK_BYTES = 2**26  # or fewer, as large ones wait in memory until they are a block
VERSION = 1  # to be raised whenever one of our networks is fed otherwise than before: it makes all that is kept stale


def extract(network: FeatureNetwork, images: Tensor, batch_size: int, device: torch.device) -> Tensor:
    """Features ``(N, num_features)`` of uint8 images ``(N, C, H, W)``, some at a time."""
    with torch.inference_mode():
        return torch.cat([network(part.to(device)) for part in torch.split(images, batch_size)])


class RealImages:
    """Counts and hashes real images as they come, and hands their features on, block by block.

    A block is looked up by the hashes of its images, and by the network with its weights, its resizer and the kind
    of device: batches of any size give the same blocks. A module that is not this library's is never looked up, since
    nothing tells when its code has changed.

    Args:
        network: The feature network.
        receive: Called with the features ``(N, num_features)`` of each block; `None` where nobody needs them.
        cache: Where features are kept.
        batch_size: Images through the network at a time.
        device: Where the network is.

    Attributes:
        count: Images so far.
        digest: Their hash.
    """

    def __init__(
        self,
        network: FeatureNetwork,
        receive: Callable[[Tensor], None] | None,
        cache: FeatureCache,
        batch_size: int,
        device: torch.device,
    ) -> None:
        self.network = network
        self.receive = receive
        own = type(network).__module__.startswith("gan_modules.") and not isinstance(network, ModuleFeatures)
        self.cache = cache if own else None
        self.batch_size = batch_size
        self.device = device
        self.count = 0
        self.digest = SetDigest()
        self._waiting: list[Tensor] = []

    def add(self, images: Tensor) -> None:
        """Take in uint8 images ``(N, C, H, W)``."""
        for part in torch.split(images.cpu(), 1):
            if self._waiting and self._waiting[0].shape != part.shape:
                self.flush()
            self._waiting.append(part)
            if len(self._waiting) == min(BLOCK_IMAGES, max(BLOCK_BYTES // part.numel(), 1)):
                self.flush()

    def flush(self) -> None:
        """Close the block, whether full or not; at the end it has to be called."""
        if not self._waiting:
            return
        images = torch.cat(self._waiting)
        self._waiting = []
        digests = image_digests(images)
        self.count += len(images)
        self.digest.update(digests)
        if self.receive is not None:
            self.receive(self._features(images, digests).to(self.device))

    def _features(self, images: Tensor, digests: list[bytes]) -> Tensor:
        if self.cache is None:
            return extract(self.network, images, self.batch_size, self.device)
        network = self.network
        seer = (VERSION, type(network).__qualname__, network.sha256, network.resizer, self.device.type)
        key = hashlib.blake2b(repr(seer).encode() + b"".join(digests), digest_size=16).hexdigest()
        kept = self.cache.get(key)
        if kept is not None:
            return kept["features"]
        features = extract(network, images, self.batch_size, self.device)
        self.cache.put(key, {"features": features.cpu()})
        return features
