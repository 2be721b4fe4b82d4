import pytest
import torch

from gan_modules import CGAN, DCGAN, StyleGAN2


def narrow(image_shape=(1, 16, 16), num_classes=0):
    """A StyleGAN2 of random weights whose noise, biases and mean style are away from where they start."""
    torch.manual_seed(0)
    model = StyleGAN2(
        image_shape, num_classes, latent_dim=8, style_dim=8, mapping_layers=2, channel_base=64, channel_max=8
    )
    with torch.no_grad():
        for parameter in model.generator.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
        model.generator.mapping.w_avg.normal_()
    model.generator_ema.load_state_dict(model.generator.state_dict())
    return model


@pytest.fixture(scope="session")
def style():
    return narrow()


@pytest.fixture(scope="session")
def classy_style():
    return narrow((3, 8, 8), num_classes=3)


@pytest.fixture(scope="session")
def dcgan():
    torch.manual_seed(0)
    return DCGAN((1, 16, 16), latent_dim=5, base_channels=2)


@pytest.fixture(scope="session")
def cgan():
    torch.manual_seed(0)
    return CGAN((1, 8, 8), num_classes=3, latent_dim=4, hidden_dim=16)
