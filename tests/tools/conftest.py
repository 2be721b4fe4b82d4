import pytest
import torch

from gan_modules import CGAN, DCGAN, StyleGAN2


def shaken(model, by):
    """The model with its generator's parameters away from where they start, and its average there, too."""
    with torch.no_grad():
        for parameter in model.generator.parameters():
            parameter += by * torch.randn_like(parameter)
    model.generator_ema.load_state_dict(model.generator.state_dict())
    return model


def narrow_style(image_shape, num_classes=0):
    torch.manual_seed(0)
    widths = {"latent_dim": 8, "style_dim": 8, "mapping_layers": 2, "channel_base": 64, "channel_max": 8}
    model = StyleGAN2(image_shape, num_classes, **widths)
    model.generator.mapping.w_avg.normal_()
    for block in model.generator.synthesis.blocks.values():
        block.torgb.weight.data *= 0.2  # so that images stay within [-1, 1], but for a pixel here and there
    return shaken(model, 0.1)


@pytest.fixture
def style():
    return narrow_style((1, 16, 16))


@pytest.fixture
def classy_style():
    return narrow_style((3, 8, 8), num_classes=3)


@pytest.fixture
def dcgan():
    torch.manual_seed(0)
    return shaken(DCGAN((1, 16, 16), latent_dim=5, base_channels=2), 0.3)


@pytest.fixture
def cgan():
    torch.manual_seed(0)
    return shaken(CGAN((1, 8, 8), num_classes=3, latent_dim=4, hidden_dim=16), 0.1)
