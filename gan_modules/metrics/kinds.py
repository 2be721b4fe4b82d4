"""Feature networks for samples that are no images; none has weights of its own to download."""

from __future__ import annotations

import torch
from torch import Tensor

from gan_modules.errors import GANError
from gan_modules.metrics.features import FeatureNetwork

WINDOW = 256  # samples of a spectrogram's window
FLOOR = 1e-4  # added to magnitudes, so that silence has a logarithm


class CoordinateFeatures(FeatureNetwork):
    """Points as their own features.

    Args:
        dimensions: Coordinates of a point.
    """

    name = "coordinates"
    kind = "point"
    resizer = "none"

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.num_features = dimensions

    def features(self, samples: Tensor) -> Tensor:
        """Return the points ``(N, D)`` themselves.

        Raises:
            GANError: If they have another number of coordinates.
        """
        if samples.shape[1] != self.num_features:
            raise GANError(
                f"These points have {samples.shape[1]} coordinates, and the others {self.num_features}: score them "
                f"apart."
            )
        return samples


class SpectrogramFeatures(FeatureNetwork):
    """Mean and standard deviation over time of the log-magnitude spectrogram, channels averaged.

    The window is a Hann window of 256 samples with a hop of 64; shorter sounds are padded with zeros. The features hear
    a sound's timbre and its changes, and neither pitch contours nor the order of events: use a trained network
    for published scores.
    """

    name = "spectrogram"
    kind = "audio"
    num_features = 2 * (WINDOW // 2 + 1)
    resizer = "none"
    window: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(WINDOW))
        self.freeze()

    def features(self, samples: Tensor) -> Tensor:
        """Return features ``(N, 258)`` of audio ``(N, C, T)`` in [-1, 1]."""
        spectrum = torch.stft(
            samples.mean(dim=1), WINDOW, WINDOW // 4, window=self.window, pad_mode="constant", return_complex=True
        )
        levels = (spectrum.abs() + FLOOR).log()
        return torch.cat([levels.mean(dim=2), levels.std(dim=2, correction=0)], dim=1)


class FrameFeatures(FeatureNetwork):
    """Features of a video's frames by an image network, averaged over time: they do not see the order of frames.

    Args:
        network: Takes the frames.
    """

    kind = "video"

    def __init__(self, network: FeatureNetwork) -> None:
        super().__init__()
        self.network = network
        self.name = f"frames_{network.name}"
        self.num_features = network.num_features
        self.resizer = network.resizer
        self.sha256 = network.sha256

    @property
    def is_builtin(self) -> bool:
        """Whether the frames' network comes with this library."""
        return self.network.is_builtin

    def features(self, samples: Tensor) -> Tensor:
        """Return features ``(N, num_features)`` of videos ``(N, C, T, H, W)`` in [0, 255]."""
        frames = samples.transpose(1, 2).flatten(0, 1)
        return self.network.checked_features(frames).view(len(samples), -1, self.num_features).mean(dim=1)
