"""Fully connected networks for small images and for points, with or without labels."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from gan_modules.networks.common import check_sizes


class MLPGenerator(nn.Module):
    """Generator of fully connected ReLU layers (1406.2661), conditional if there are classes (1411.1784).

    Maps latents (N, latent_dim) to samples in [-1, 1] by a tanh, or to unbounded points (N, D). A
    label enters as a learned embedding of `num_classes` numbers beside the latent.

    Hidden weights start as He's, the output's as Glorot's, as in the published toy experiments of 1704.00028;
    1406.2661 gives no initialisation.

    Args:
        image_shape: (C, H, W) of the images, (D,) of the points, or another shape of samples.
        latent_dim: Length of a latent.
        hidden_dim: Units in each hidden layer.
        num_layers: Number of hidden layers.
        num_classes: Number of classes; 0 builds an unconditional generator.
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        latent_dim: int = 100,
        hidden_dim: int = 512,
        num_layers: int = 3,
        num_classes: int = 0,
    ) -> None:
        super().__init__()
        check_sizes("MLPGenerator", image_shape, latent_dim=latent_dim, hidden_dim=hidden_dim)
        self.image_shape = tuple(image_shape)
        self.embedding = nn.Embedding(num_classes, num_classes) if num_classes else None
        widths = [latent_dim + num_classes, *[hidden_dim] * num_layers, math.prod(image_shape)]
        self.layers = _perceptron(widths, nn.ReLU())
        self.output = nn.Identity() if len(self.image_shape) == 1 else nn.Tanh()

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Turn latents (N, latent_dim) and, where there are classes, int64 labels (N,) into samples.

        Raises:
            ValueError: Labels are missing where there are classes, or given where there are none.
        """
        samples: Tensor = self.output(self.layers(_with_labels(z, labels, self.embedding)))
        return samples.view(-1, *self.image_shape)


class MLPDiscriminator(nn.Module):
    """Discriminator or critic of fully connected layers, conditional if there are classes (1411.1784).

    Maps images (N, C, H, W) or points (N, D) to logits (N, 1). Has no normalisation, so that each logit
    depends on its own sample alone and a gradient penalty (1704.00028) may be applied. Where 1406.2661 has
    maxout units with dropout and 1704.00028 has ReLU, this has LeakyReLU(0.2) for both: it leaves no unit
    dead when the critic trains ahead of the generator. Initialised as `MLPGenerator`.

    Args:
        image_shape: (C, H, W) of the images, or (D,) of the points.
        hidden_dim: Units in each hidden layer.
        num_layers: Number of hidden layers.
        num_classes: Number of classes; 0 builds an unconditional discriminator.
    """

    def __init__(
        self, image_shape: Sequence[int], hidden_dim: int = 512, num_layers: int = 3, num_classes: int = 0
    ) -> None:
        super().__init__()
        check_sizes("MLPDiscriminator", image_shape, hidden_dim=hidden_dim)
        self.embedding = nn.Embedding(num_classes, num_classes) if num_classes else None
        widths = [math.prod(image_shape) + num_classes, *[hidden_dim] * num_layers, 1]
        self.layers = _perceptron(widths, nn.LeakyReLU(0.2))

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return logits (N, 1) of samples (N, …), with int64 labels (N,) if there are classes.

        Raises:
            ValueError: Labels are missing where there are classes, or given where there are none.
        """
        logits: Tensor = self.layers(_with_labels(x.flatten(1), labels, self.embedding))
        return logits

    def features(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return what `logits` and further heads take: the last hidden layer (N, hidden_dim)."""
        features: Tensor = self.layers[:-1](_with_labels(x.flatten(1), labels, self.embedding))
        return features

    def logits(self, features: Tensor) -> Tensor:
        """Return logits (N, 1) of features."""
        logits: Tensor = self.layers[-1](features)
        return logits


def _perceptron(widths: list[int], activation: nn.Module) -> nn.Sequential:
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(widths):
        linear = nn.Linear(fan_in, fan_out)
        # Biases keep PyTorch's random start: at zero, every kink over a plane would pass through the origin.
        nn.init.kaiming_uniform_(linear.weight, nonlinearity="relu")
        layers += [linear, activation]
    nn.init.xavier_uniform_(linear.weight)
    return nn.Sequential(*layers[:-1])


def _with_labels(x: Tensor, labels: Tensor | None, embedding: nn.Embedding | None) -> Tensor:
    if embedding is None:
        if labels is not None:
            raise ValueError("this network has no classes: pass no labels, or build it with num_classes.")
        return x
    if labels is None:
        raise ValueError(f"this network has {embedding.num_embeddings} classes: pass labels of shape (N,).")
    return torch.cat([x, embedding(labels)], dim=1)
