"""The DCGAN networks against the paper's figure, its published implementation's size and its initialisation."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from gan_modules.networks import DCGANDiscriminator, DCGANGenerator

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


def convolutions(network):
    return [module for module in network.modules() if isinstance(module, CONVOLUTIONS)]


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.fixture(scope="module")
def paper():
    """The paper's pair at 64×64."""
    torch.manual_seed(0)
    return DCGANGenerator((3, 64, 64), 100, 128), DCGANDiscriminator((3, 64, 64), 128)


def test_channels_are_those_of_figure_1(paper):
    generator, discriminator = paper
    assert [(c.in_channels, c.out_channels) for c in convolutions(generator)] == [
        (100, 1024),
        (1024, 512),
        (512, 256),
        (256, 128),
        (128, 3),
    ]
    assert [(c.in_channels, c.out_channels) for c in convolutions(discriminator)] == [
        (3, 128),
        (128, 256),
        (256, 512),
        (512, 1024),
        (1024, 1),
    ]


def test_parameters_are_those_of_the_pytorch_example():
    # The PyTorch example (width 64, 100 latents) has 3,576,704 and 2,765,568, with no bias at G's output, at D's input
    # and at the logit: 3, 64 and 1 more here.
    assert count(DCGANGenerator((3, 64, 64), 100, 64)) == 3_576_704 + 3
    assert count(DCGANDiscriminator((3, 64, 64), 64)) == 2_765_568 + 64 + 1


@pytest.mark.parametrize("size", [8, 16, 32, 128])
def test_sizes_and_channels_by_closed_form(size):
    base, colours, latent = 4, 2, 6
    levels = {8: 1, 16: 2, 32: 3, 128: 5}[size]
    top = base * 2 ** (levels - 1)
    # Σ 16·2c·c over the inner convolutions, and scale and shift wherever BatchNorm stands.
    inner = sum(16 * 2 * (base * 2**i) ** 2 for i in range(levels - 1))
    widths = sum(base * 2**i for i in range(levels))
    generator = DCGANGenerator((colours, size, size), latent, base)
    discriminator = DCGANDiscriminator((colours, size, size), base)
    assert count(generator) == 16 * latent * top + inner + 16 * base * colours + colours + 2 * widths
    assert count(discriminator) == 16 * colours * base + base + inner + 16 * top + 1 + 2 * (widths - base)
    images = generator(torch.randn(2, latent))
    assert images.shape == (2, colours, size, size)
    assert discriminator(images).shape == (2, 1)


def test_initialisation(paper):
    for network in paper:
        for convolution in convolutions(network):
            weight = convolution.weight
            assert abs(weight.mean().item()) < 5 * 0.02 / weight.numel() ** 0.5
            assert weight.std().item() == pytest.approx(0.02, rel=5 / (2 * weight.numel()) ** 0.5)
            assert convolution.bias is None or not convolution.bias.any()
        norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
        scales = torch.cat([norm.weight for norm in norms])
        assert scales.mean().item() == pytest.approx(1, abs=5 * 0.02 / len(scales) ** 0.5)
        assert scales.std().item() == pytest.approx(0.02, rel=5 / (2 * len(scales)) ** 0.5)
        assert not any(norm.bias.any() for norm in norms)


def test_batch_norm_everywhere_but_at_the_ends(paper):
    for network, kinds in zip(paper, [["norm"] * 4 + ["bias"], ["bias"] + ["norm"] * 3 + ["bias"]], strict=True):
        layers = list(network.layers)
        found = []
        for layer, after in pairwise(layers):
            if isinstance(layer, CONVOLUTIONS):
                found.append("norm" if isinstance(after, nn.BatchNorm2d) else "bias")
                assert (layer.bias is None) == (found[-1] == "norm")
        assert found == kinds


def test_activations_slope_0_2_below_zero():
    # Without normalisation to undo it, a discriminator of 8×8 is conv, LeakyReLU, conv.
    torch.manual_seed(0)
    discriminator = DCGANDiscriminator((1, 8, 8), 4)
    first, last = convolutions(discriminator)
    x = torch.randn(5, 1, 8, 8)
    hidden = first(x)
    expected = last(torch.where(hidden > 0, hidden, 0.2 * hidden)).reshape(5, 1)
    torch.testing.assert_close(discriminator(x), expected)


def test_generator_normalises_by_the_batch_and_rectifies():
    torch.manual_seed(0)
    generator, z = DCGANGenerator((1, 8, 8), 5, 4), torch.randn(6, 5)
    first, last = convolutions(generator)
    hidden = torch.einsum("nl,lchw->nchw", z, first.weight)
    variance, mean = torch.var_mean(hidden, (0, 2, 3), correction=0, keepdim=True)
    scale = generator.layers[1].weight[:, None, None]
    hidden = ((hidden - mean) / (variance + 1e-5).sqrt() * scale).clamp(min=0)
    torch.testing.assert_close(generator(z), last(hidden).tanh())


def test_batch_statistics_couple_samples_in_training_and_not_in_evaluation():
    torch.manual_seed(0)
    discriminator, x = DCGANDiscriminator((1, 16, 16), 4), torch.randn(4, 1, 16, 16)
    changed = torch.cat([10 * x[:1], x[1:]])
    assert not torch.allclose(discriminator(x)[1:], discriminator(changed)[1:], rtol=1e-3)
    discriminator.eval()
    torch.testing.assert_close(discriminator(x)[1:], discriminator(changed)[1:])
