"""StyleGAN's networks: the published sizes, the merged resampling, AdaIN, and growth without a jump."""

from functools import partial

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from gan_modules.networks import StyleGANDiscriminator, StyleGANGenerator
from gan_modules.networks.equalized import EqualizedConv, minibatch_stddev
from gan_modules.networks.stylegan import _Adapt, conv_downsample, upsample_conv


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def small(levels=16, **options):
    shape = (3, levels, levels)
    options |= {"channel_max": 6}
    generator = StyleGANGenerator(shape, 4, style_dim=5, mapping_layers=2, **options).double()
    discriminator = StyleGANDiscriminator(shape, **options).double()
    with torch.no_grad():
        for name, parameter in [*generator.named_parameters(), *discriminator.named_parameters()]:
            if "noise_strength" in name or "bias" in name:
                parameter.normal_()
    return generator, discriminator


def test_parameters_at_1024_are_as_many_as_published():
    """26.2 million in the generator (1812.04948, Sec. 2) and 23.1 million in the discriminator (1710.10196)."""
    with torch.device("meta"):
        networks = StyleGANGenerator((3, 1024, 1024)), StyleGANDiscriminator((3, 1024, 1024))
    assert [sum(p.numel() for p in network.parameters()) for network in networks] == [26_219_627, 23_087_249]
    assert networks[0].num_ws == 18


def activated(x, layer, lr_multiplier=1.0):
    """Published code: weights of He's deviation, then the bias, then a leaky ReLU without gain."""
    weight = layer.weight * lr_multiplier * (2 / layer.weight[0].numel()) ** 0.5
    apply = F.linear if weight.ndim == 2 else partial(F.conv2d, padding=weight.shape[-1] // 2)
    x = apply(x, weight)
    return F.leaky_relu(x + lr_multiplier * layer.bias.view(-1, *[1] * (x.ndim - 2)), 0.2)


def test_mapping_is_the_published_one():
    generator, _ = small(8)
    z = torch.randn(3, 4, dtype=torch.float64)
    w = z / z.square().mean(1, keepdim=True).sqrt()
    for layer in generator.mapping.layers[::2]:
        layer.bias.data *= 100
        w = activated(w, layer, 0.01)
    torch.testing.assert_close(generator.mapping(z), w[:, None].expand(-1, generator.num_ws, -1))


def test_discriminator_is_the_published_one():
    _, discriminator = small(8)
    images = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    x = activated(activated(images, discriminator.from_images[1]), discriminator.blocks[0].conv)
    kernel = torch.tensor([[1, 2, 1], [2, 4, 2], [1, 2, 1]], dtype=torch.float64).expand(x.shape[1], 1, 3, 3) / 16
    down = discriminator.blocks[0].down
    x = F.conv2d(F.conv2d(x, kernel, padding=1, groups=x.shape[1]), down.weight * down.weight_gain, padding=1)
    x = F.leaky_relu(F.avg_pool2d(x, 2) + down.bias.view(-1, 1, 1), 0.2)
    x = activated(activated(minibatch_stddev(x), discriminator.conv).flatten(1), discriminator.hidden)
    last = discriminator.to_logits
    expected = F.linear(x, last.weight / x.shape[1] ** 0.5, last.bias)
    torch.testing.assert_close(discriminator(images), expected)


def test_resampling_convolutions_are_those_they_merge():
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    up = EqualizedConv(3, 5, 3, bias=False).double()
    expected = F.conv2d(x.repeat_interleave(2, 2).repeat_interleave(2, 3), up.weight * up.weight_gain, padding=1)
    torch.testing.assert_close(upsample_conv(x, up), expected)
    down = EqualizedConv(3, 5, 3).double()
    torch.nn.init.normal_(down.bias)
    full = F.conv2d(x, down.weight * down.weight_gain, down.bias * down.bias_gain, padding=1)
    torch.testing.assert_close(conv_downsample(x, down), full.unflatten(2, (4, 2)).unflatten(4, (4, 2)).mean((3, 5)))


def test_style_sets_mean_and_deviation_of_each_map():
    """Eq. 1: y_s·(x - μ)/σ + y_b, with y_s = style + 1."""
    adapt = _Adapt(6, 5, 16).double()
    w = torch.randn(4, 5, dtype=torch.float64)
    maps = adapt(torch.randn(4, 6, 16, 16, dtype=torch.float64), w, "random")
    scale, shift = (w @ adapt.style.weight.T / 5**0.5).chunk(2, dim=1)
    torch.testing.assert_close(maps.mean((2, 3)), shift)
    torch.testing.assert_close(maps.std((2, 3), unbiased=False), (scale + 1).abs(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("level", [0.25, 1.75])
def test_generator_fades_between_its_sizes(level):
    """1710.10196, Fig. 2: (1 - α)·doubled + α·new, where α grows as the level falls."""
    generator, _ = small(32)
    ws = generator.mapping(torch.randn(3, 4, dtype=torch.float64))
    images = {}
    for generator.lod in (level, float(int(level)), int(level) + 1.0):
        images[generator.lod] = generator.synthesis(ws, "const").detach().numpy()
    alpha = 1 - level % 1
    expected = (1 - alpha) * images[int(level) + 1.0] + alpha * images[float(int(level))]
    np.testing.assert_allclose(images[level], expected, atol=1e-12)
    size = 2 ** int(level)  # pixels come in squares
    np.testing.assert_array_equal(images[level], images[level][..., ::size, ::size].repeat(size, 2).repeat(size, 3))


@pytest.mark.parametrize("boundary", [1.0, 2.0])
def test_discriminator_grows_without_a_jump(boundary):
    _, discriminator = small(32)
    images = torch.randn(4, 3, 32, 32, dtype=torch.float64)
    logits = {}
    for discriminator.lod in (boundary, boundary - 1e-9, boundary - 0.5, boundary + 1e-9):
        logits[discriminator.lod] = discriminator(images)
    torch.testing.assert_close(logits[boundary - 1e-9], logits[boundary], rtol=0, atol=1e-6)
    assert (logits[boundary - 0.5] - logits[boundary]).abs().max() > 1e-3
    assert (logits[boundary + 1e-9] - logits[boundary]).abs().max() < 1e-6


def test_discriminator_sees_no_more_than_its_level():
    _, discriminator = small(16)
    discriminator.lod = 1.0
    images = torch.randn(4, 3, 16, 16, dtype=torch.float64)
    coarse = F.avg_pool2d(images, 2).repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(discriminator(images), discriminator(coarse))


@pytest.mark.parametrize("level", [0.0, 0.4, 1.0])
def test_discriminator_can_be_differentiated_twice(level):
    _, discriminator = small(8)
    discriminator.lod = level
    images = torch.randn(2, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: discriminator(x).tanh().sum(), images, atol=1e-4)


def test_a_label_chooses_its_logit_and_its_style():
    generator, discriminator = small(8, num_classes=3)
    images, labels = torch.randn(4, 3, 8, 8, dtype=torch.float64), torch.tensor([2, 0, 1, 2])
    heads = discriminator(images, torch.zeros(4, dtype=torch.long)), discriminator(images, torch.full((4,), 2))
    logits = discriminator(images, labels)
    torch.testing.assert_close(logits[[1]], heads[0][[1]])
    torch.testing.assert_close(logits[[0, 3]], heads[1][[0, 3]])
    z = torch.randn(1, 4, dtype=torch.float64).expand(4, 4)
    ws = generator.mapping(z, labels)
    torch.testing.assert_close(ws[0], ws[3])
    assert (ws[0] - ws[1]).abs().max() > 1e-3


def test_latent_and_class_are_normalised_together():
    """As in the published code: concatenated, then divided by the root mean square of all."""
    generator, _ = small(8, num_classes=3)
    z, labels = torch.randn(4, 4, dtype=torch.float64), torch.tensor([2, 0, 1, 2])
    joined = np.concatenate([z.numpy(), generator.mapping.embed.weight.detach().numpy()[labels]], axis=1)
    expected = joined / np.sqrt((joined**2).mean(1, keepdims=True) + 1e-8)
    np.testing.assert_allclose(generator.mapping.join(z, labels).detach().numpy(), expected)


def test_the_level_is_in_the_state_dict():
    generator, _ = small(32)
    generator.lod = 1.25
    other, _ = small(32)
    other.load_state_dict(generator.state_dict())
    assert other.lod == 1.25


@pytest.mark.parametrize("shape", [(3, 12, 12), (3, 16, 8), (3, 4, 4), (16, 16), (3, 2048, 2048)])
@pytest.mark.parametrize("network", [StyleGANGenerator, StyleGANDiscriminator])
def test_other_sizes_are_refused(network, shape):
    with pytest.raises(ValueError, match=f"{network.__name__} cannot be built for image_shape"):
        network(shape)
