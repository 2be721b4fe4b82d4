"""The tools on StyleGAN, whose generator grows and whose truncation stops at a layer."""

import pytest
import torch

from gan_modules import StyleGAN
from gan_modules.tools import draw, interpolate, mix, project
from gan_modules.tools.distances import PixelsAndFeatures


@pytest.fixture
def growing():
    torch.manual_seed(0)
    model = StyleGAN((1, 16, 16), latent_dim=8, style_dim=8, channel_base=64, channel_max=8, truncation_cutoff=2)
    with torch.no_grad():
        for parameter in model.generator_ema.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
        model.generator_ema.mapping.w_avg.normal_()
        for layer in model.generator_ema.to_images:
            layer.weight *= 0.2  # so that images stay within [-1, 1]
    return model


def test_movies_and_mixtures_are_of_samples(growing):
    frames = list(interpolate(growing, [3, 4], steps=2, truncation=0.5))
    torch.testing.assert_close(frames[2], growing.sample(1, seed=4, truncation=0.5))
    mixture = mix(growing, [3], [4, 5], styles=range(6), truncation=0.5)
    torch.testing.assert_close(mixture.images[0], draw(growing, [4, 5], truncation=0.5))
    coarse = mix(growing, [3], [4], styles=[0, 1]).images[0, 0]
    assert not torch.allclose(coarse, growing.sample(1, seed=3)[0], atol=1e-3)
    assert not torch.allclose(coarse, growing.sample(1, seed=4)[0], atol=1e-3)


def test_the_way_back_from_image_to_styles(growing):
    """Finite differences of one image in channels_last, where torch's own instance norm is wrong on the CPU."""
    network = growing.generator_ema.double().eval()
    ws = network.mapping(growing.draw_latents(1, 0).double()).detach().requires_grad_()
    assert torch.autograd.gradcheck(lambda ws: network.synthesis(ws, noise="const"), (ws,), fast_mode=True)


def test_projection(growing):
    target = growing.sample(1, seed=3)[0]
    found = project(growing, target, steps=120, distance=PixelsAndFeatures(growing.discriminator))
    errors = [float((image - target).square().mean()) for image in (found.way[0][1], found.image)]
    assert errors[1] < errors[0] / 10
