"""The WGAN-GP ResNets against the published code's order of operations and hand-counted sizes."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gan_modules.networks import ResNetDiscriminator, ResNetGenerator


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


def convolutions(network):
    return [module for module in network.modules() if isinstance(module, nn.Conv2d)]


def conv(x, layer):
    return F.conv2d(x, layer.weight, layer.bias, padding="same")


def batch_norm(x):
    """Normalise by batch statistics, with the scale 1 and shift 0 of a fresh network."""
    mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), keepdim=True, unbiased=False)
    return (x - mean) / (var + 1e-5).sqrt()


def double(x):
    return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)


def halve(x):
    return (x[:, :, ::2, ::2] + x[:, :, 1::2, ::2] + x[:, :, ::2, 1::2] + x[:, :, 1::2, 1::2]) / 4


def test_generator_follows_the_published_code():
    torch.manual_seed(0)
    generator = ResNetGenerator((3, 16, 16), latent_dim=5, base_channels=6).double()
    z = torch.randn(4, 5, dtype=torch.float64)
    x = (z @ generator.project.weight.T + generator.project.bias).reshape(4, 6, 4, 4)
    for block in generator.blocks:
        # UpsampleConv, then Conv2D; the shortcut is an UpsampleConv too.
        residual = conv(double(F.relu(batch_norm(x))), block.conv1)
        residual = conv(F.relu(batch_norm(residual)), block.conv2)
        x = conv(double(x), block.shortcut) + residual
    expected = conv(F.relu(batch_norm(x)), generator.to_image).tanh()
    torch.testing.assert_close(generator(z), expected)


def test_critic_follows_the_published_code():
    torch.manual_seed(0)
    critic = ResNetDiscriminator((3, 32, 32), base_channels=6).double()
    x = torch.randn(4, 3, 32, 32, dtype=torch.float64)
    first, second, *rest = critic.blocks
    # OptimizedResBlockDisc1: ConvMeanPool beside MeanPoolConv, and no activation of the image.
    features = halve(conv(F.relu(conv(x, first.conv1)), first.conv2)) + conv(halve(x), first.shortcut)
    # ResidualBlock(resample='down'): ConvMeanPool on both ways.
    residual = conv(F.relu(conv(F.relu(features), second.conv1)), second.conv2)
    features = halve(residual) + halve(conv(features, second.shortcut))
    for block in rest:
        features = features + conv(F.relu(conv(F.relu(features), block.conv1)), block.conv2)
    expected = F.relu(features).flatten(2).mean(2) @ critic.to_logit.weight.T + critic.to_logit.bias
    assert len(rest) == 2
    assert features.shape[-1] == 8
    torch.testing.assert_close(critic(x), expected)


def test_parameters_of_the_paper_are_counted_by_hand():
    conv3, conv1, norm = 128 * 128 * 9 + 128, 128 * 128 + 128, 2 * 128
    generator = (128 * 2048 + 2048) + 3 * (2 * conv3 + conv1 + 2 * norm) + norm + (128 * 3 * 9 + 3)
    critic = (3 * 128 * 9 + 128 + conv3 + 3 * 128 + 128) + (2 * conv3 + conv1) + 2 * 2 * conv3 + (128 + 1)
    assert count(ResNetGenerator((3, 32, 32))) == generator
    assert count(ResNetDiscriminator((3, 32, 32))) == critic


@pytest.mark.parametrize(("size", "halvings", "left"), [(8, 1, 4), (16, 1, 8), (64, 3, 8), (256, 5, 8)])
def test_sizes(size, halvings, left):
    generator = ResNetGenerator((1, size, size), latent_dim=3, base_channels=2)
    critic = ResNetDiscriminator((1, size, size), base_channels=2)
    images = generator(torch.randn(2, 3))
    assert images.shape == (2, 1, size, size)
    assert critic.blocks(images).shape == (2, 2, left, left)
    assert len(critic.blocks) == halvings + 2
    assert critic(images).shape == (2, 1)


def test_weights_start_as_in_the_published_code():
    # Glorot's variance 2 / (fan_in + fan_out), doubled ("He") in the residual 3×3 convolutions; biases 0.
    torch.manual_seed(0)
    for network in (ResNetGenerator((3, 32, 32)), ResNetDiscriminator((3, 32, 32))):
        for layer in convolutions(network):
            area = layer.kernel_size[0] ** 2
            residual = area == 9 and layer.out_channels != 3
            expected = math.sqrt((4 if residual else 2) / (area * (layer.in_channels + layer.out_channels)))
            # A uniform number's square has a relative deviation of 0.9; half of it remains in the root.
            assert layer.weight.std().item() == pytest.approx(expected, rel=5 * 0.45 / layer.weight.numel() ** 0.5)
            assert not layer.bias.any()
