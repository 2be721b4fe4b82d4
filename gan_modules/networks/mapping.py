"""From latents and classes to styles (1812.04958, Sec. 2)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan_modules.functional.precision import at_least_float32
from gan_modules.networks.equalized import ACTIVATION_GAIN, EqualizedLinear, pixel_norm

AVERAGE_DECAY = 0.995


class Mapping(nn.Module):
    """Perceptron from latents to styles, which keeps their mean in the buffer ``w_avg``.

    Each forward pass in training mode moves ``w_avg`` by 0.005 of the way to the mean of its styles.

    Args:
        latent_dim: Length of a latent.
        style_dim: Length of a style.
        num_ws: Styles an image takes.
        layers: Depth of the perceptron.
        num_classes: Classes, of which each has an embedding beside the latent (2006.06676, App. D); 0 for none.
        bias_gain: Factor on the biases.
    """

    w_avg: Tensor

    def __init__(
        self,
        latent_dim: int,
        style_dim: int,
        num_ws: int,
        layers: int = 8,
        num_classes: int = 0,
        bias_gain: float = ACTIVATION_GAIN,
    ) -> None:
        super().__init__()
        self.num_ws = num_ws
        self.num_classes = num_classes
        if num_classes:
            self.embed: nn.Module = EqualizedLinear(num_classes, style_dim)
        self.layers = _perceptron(latent_dim + (style_dim if num_classes else 0), style_dim, layers, bias_gain)
        self.register_buffer("w_avg", torch.zeros(style_dim))

    def forward(
        self,
        z: Tensor,
        labels: Tensor | None = None,
        truncation: float = 1.0,
        truncation_cutoff: int | None = None,
    ) -> Tensor:
        """Turn latents (N, latent_dim) into styles (N, num_ws, style_dim).

        Args:
            z: SamplingInfo from N(0, 1).
            labels: Class indices (N,), where there are classes.
            truncation: Below 1 draws the styles to their mean, for less variety (1812.04958, App. B).
            truncation_cutoff: How many of an image's styles are drawn, from the coarsest; all by default.

        Raises:
            ValueError: Labels are missing.
        """
        if self.num_classes and labels is None:
            raise ValueError(f"The network was built for {self.num_classes} classes: pass a label for each image.")
        w: Tensor = self.layers(self.join(at_least_float32(z), labels))
        if self.training:
            with torch.no_grad():
                self.w_avg.lerp_(w.mean(0).to(self.w_avg.dtype), 1 - AVERAGE_DECAY)
        ws = w[:, None].repeat(1, self.num_ws, 1)
        if truncation == 1.0:
            return ws
        cutoff = self.num_ws if truncation_cutoff is None else truncation_cutoff
        return torch.cat([self.w_avg.to(w.dtype).lerp(ws[:, :cutoff], truncation), ws[:, cutoff:]], 1)

    def join(self, z: Tensor, labels: Tensor | None) -> Tensor:
        """Put latents and embedded classes, where there are any, beside each other, each normalised."""
        if labels is None or not self.num_classes:
            return pixel_norm(z)
        return torch.cat([pixel_norm(z), pixel_norm(self.embed(_one_hot(labels, self.num_classes)))], 1)


class ClassMapping(nn.Module):
    """Perceptron from classes to the directions in which a discriminator looks for them (2006.06676, App. D).

    Args:
        num_classes: How many classes there are.
        dim: Length of a direction.
        layers: Depth of the perceptron.
    """

    def __init__(self, num_classes: int, dim: int, layers: int = 8) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.embed = EqualizedLinear(num_classes, dim)
        self.layers = _perceptron(dim, dim, layers)

    def forward(self, labels: Tensor) -> Tensor:
        """Turn class indices (N,) into directions (N, dim)."""
        directions: Tensor = self.layers(pixel_norm(self.embed(_one_hot(labels, self.num_classes))))
        return directions


def _one_hot(labels: Tensor, num_classes: int) -> Tensor:
    return F.one_hot(labels, num_classes).float()


def _perceptron(in_features: int, features: int, layers: int, bias_gain: float = ACTIVATION_GAIN) -> nn.Sequential:
    """Layers that learn a hundred times slower than the others."""
    perceptron = nn.Sequential()
    for i in range(layers):
        width = features if i else in_features
        layer = EqualizedLinear(width, features, gain=ACTIVATION_GAIN, bias_gain=bias_gain, lr_multiplier=0.01)
        perceptron.add_module(f"fc{i}", layer)
        perceptron.add_module(f"act{i}", nn.LeakyReLU(0.2))
    return perceptron
