"""Features of samples in batches; those of reals are read from the disk where they were computed before."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import torch
from torch import Tensor

from gan_modules.metrics.features import FeatureNetwork
from gan_modules.scoring.cache import FeatureCache, SetDigest, sample_digests

BLOCK_SAMPLES = 1024  # samples in a file of the cache,
BLOCK_BYTES = 2**26  # or fewer, since large ones wait in memory until the block is full
VERSION = 1  # to be raised when a network of this library gets other inputs than before: it invalidates the cache


def extract(network: FeatureNetwork, samples: Tensor, batch_size: int, device: torch.device) -> Tensor:
    """Return features ``(N, num_features)`` of quantized samples ``(N, …)``, `batch_size` at a time."""
    with torch.inference_mode():
        return torch.cat([network(part.to(device)) for part in torch.split(samples, batch_size)])


class RealSamples:
    """Counts and hashes real samples, and passes their features on, block by block.

    A block's key in the cache holds the hashes of its samples, the network with its weights and its resizer, and the
    type of device: batches of any size give the same blocks. Features of a network from outside this library are not
    cached, since nothing shows when its code has changed.

    Args:
        network: The feature network.
        receive: Called with the features ``(N, num_features)`` of each block; `None` where no metric needs them.
        cache: Where features are stored.
        batch_size: Samples through the network at a time.
        device: Where the network is.

    Attributes:
        count: Samples so far.
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
        self.cache = cache if network.is_builtin else None
        self.batch_size = batch_size
        self.device = device
        self.count = 0
        self.digest = SetDigest()
        self._waiting: list[Tensor] = []

    def add(self, samples: Tensor) -> None:
        """Add quantized samples ``(N, …)``."""
        for part in torch.split(samples.cpu(), 1):
            if self._waiting and self._waiting[0].shape != part.shape:
                self.flush()
            self._waiting.append(part)
            if len(self._waiting) == min(BLOCK_SAMPLES, max(BLOCK_BYTES // part.numel(), 1)):
                self.flush()

    def flush(self) -> None:
        """Process the block that is not full yet; to be called after the last samples."""
        if not self._waiting:
            return
        samples = torch.cat(self._waiting)
        self._waiting = []
        digests = sample_digests(samples)
        self.count += len(samples)
        self.digest.update(digests)
        if self.receive is not None:
            self.receive(self._features(samples, digests).to(self.device))

    def _features(self, samples: Tensor, digests: list[bytes]) -> Tensor:
        if self.cache is None:
            return extract(self.network, samples, self.batch_size, self.device)
        network = self.network
        extractor_key = (VERSION, type(network).__qualname__, network.sha256, network.resizer, self.device.type)
        key = hashlib.blake2b(repr(extractor_key).encode() + b"".join(digests), digest_size=16).hexdigest()
        kept = self.cache.get(key)
        if kept is not None:
            return kept["features"]
        features = extract(network, samples, self.batch_size, self.device)
        self.cache.put(key, {"features": features.cpu()})
        return features
