"""The image-to-image networks against published sizes, receptive fields by gradient, and their own promises."""

import pytest
import torch
from torch import nn

from gan_modules.networks import PatchGAN, PixelGAN, ResNetTranslator, UNet, build_patchgan, build_translator


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("network", "millions"),
    [  # as the authors' program prints them
        (lambda: build_translator("unet_256", 3, 3, norm="batch", dropout=True), 54.414),
        (lambda: build_translator("resnet_9", 3, 3), 11.378),
        (lambda: build_patchgan(6, norm="batch"), 2.769),
        (lambda: build_patchgan(3), 2.765),
    ],
)
def test_parameters_as_the_authors_count_them(network, millions):
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in network().parameters())
    assert round(count / 1e6, 3) == millions


@pytest.mark.parametrize(("layers", "field"), [(0, 1), (1, 16), (2, 34), (3, 70), (4, 142), (5, 286)])
def test_receptive_fields_by_gradient(layers, field):
    size = max(32, 2 ** (layers + 4))
    # BatchNorm in evaluation mode ties no pixels together, as InstanceNorm would
    discriminator = build_patchgan(1, base_channels=2, layers=layers, norm="batch").eval()
    x = torch.randn(1, 1, size, size, requires_grad=True)
    logits = discriminator(x)
    middle = logits.shape[-1] // 2
    logits[0, 0, middle, middle].backward()
    rows, columns = x.grad[0, 0].nonzero(as_tuple=True)
    assert int(rows.max() - rows.min()) + 1 == int(columns.max() - columns.min()) + 1 == field
    assert discriminator.min_size == (3 * 2**layers if layers else 1)
    if layers:
        least = 3 * 2**layers
        assert discriminator(torch.zeros(1, 1, least, least)).shape == (1, 1, 1, 1)


@pytest.mark.parametrize(("depth", "drops"), [(8, 3), (7, 2), (6, 1), (5, 0)])
def test_dropout_where_the_authors_have_it(depth, drops):
    network = UNet(1, 1, depth, base_channels=1)
    assert sum(isinstance(module, nn.Dropout) for module in network.modules()) == drops
    assert not any(isinstance(module, nn.Dropout) for module in UNet(1, 1, depth, 1, dropout=False).modules())
    blocks = ResNetTranslator(1, 1, 4, 1, dropout=True).modules()
    assert sum(isinstance(module, nn.Dropout) for module in blocks) == 4


@pytest.mark.parametrize("norm", ["batch", "instance"])
@pytest.mark.parametrize(
    ("name", "size"),
    [("resnet_2", (20, 36)), ("resnet_0", (8, 8)), ("unet_16", (16, 48)), ("unet_64", (64, 64)), ("unet_4", (4, 4))],
)
def test_any_channels_and_sizes(name, size, norm):
    network = build_translator(name, 2, 5, 2, norm)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(50)  # far into saturation
        images = network(torch.randn(3, 2, *size))
    assert images.shape == (3, 5, *size)
    assert 0.9 < images.abs().max() <= 1


def test_instance_norm_translates_each_image_alone_and_learns_no_scale():
    network = ResNetTranslator(3, 3, 1, 4)
    x = torch.randn(3, 3, 16, 16)
    torch.testing.assert_close(network(x)[1:], network(x[1:]), rtol=0, atol=1e-5)
    assert len(network.state_dict()) == 2 * (3 + 2 + 3)  # weights and biases of convolutions alone


def test_weights_begin_as_published():
    network = UNet(3, 3, 6, 32)
    kernel = network.model.model[1].model[1].weight  # a convolution of the second level
    scale = network.model.model[1].model[2].weight  # and its BatchNorm
    assert kernel.std().item() == pytest.approx(0.02, rel=0.05)
    assert scale.mean().item() == pytest.approx(1, abs=0.02)
    assert 0.01 < scale.std().item() < 0.03


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: build_translator("vgg", 3, 3), "no generator 'vgg': say resnet_6"),
        (lambda: build_translator("unet_96", 3, 3), "another power of two"),
        (lambda: UNet(3, 3, 1), "depth=1 must be at least 2"),
        (lambda: ResNetTranslator(3, 3, -1), "blocks=-1"),
        (lambda: PatchGAN(3, layers=0), "PixelGAN is for single pixels"),
        (lambda: PixelGAN(3, norm="layer"), "norm='layer' must be 'batch' or 'instance'"),
    ],
)
def test_impossible_networks_are_refused(build, sentence):
    with pytest.raises(ValueError, match=sentence):
        build()
