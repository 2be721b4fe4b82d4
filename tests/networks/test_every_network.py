"""What holds for every architecture: range, memory format, independence of samples, double backward, refusals."""

import pytest
import torch
from torch import nn

from gan_modules import networks
from gan_modules.functional import gradient_penalty

GENERATORS = {
    "mlp": lambda: networks.MLPGenerator((3, 16, 16), 8, 32, 2),
    "dcgan": lambda: networks.DCGANGenerator((3, 16, 16), 8, 8),
    "resnet": lambda: networks.ResNetGenerator((3, 16, 16), 8, 8),
}
DISCRIMINATORS = {
    "mlp": lambda: networks.MLPDiscriminator((3, 16, 16), 32, 2),
    "dcgan": lambda: networks.DCGANDiscriminator((3, 16, 16), 8),
    "resnet": lambda: networks.ResNetDiscriminator((3, 16, 16), 8),
}
CRITICS = ["mlp", "resnet"]

every_generator = pytest.mark.parametrize("name", GENERATORS)
every_discriminator = pytest.mark.parametrize("name", DISCRIMINATORS)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@every_generator
def test_images_fill_the_range_and_never_leave_it(name):
    generator = GENERATORS[name]()
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.mul_(20)  # far into saturation
        images = generator(torch.randn(16, 8))
    assert images.abs().max() <= 1
    assert images.max() > 0.99
    assert images.min() < -0.99


@every_generator
def test_generators_in_channels_last(name):
    generator, z = GENERATORS[name](), torch.randn(4, 8)
    contiguous = generator(z)
    images = generator.to(memory_format=torch.channels_last)(z)
    torch.testing.assert_close(images, contiguous, rtol=0, atol=1e-5)
    if name != "mlp":
        assert images.is_contiguous(memory_format=torch.channels_last)


@every_discriminator
def test_discriminators_in_channels_last(name):
    discriminator, x = DISCRIMINATORS[name](), torch.randn(4, 3, 16, 16)
    contiguous = discriminator(x)
    channels_last = torch.channels_last
    logits = discriminator.to(memory_format=channels_last)(x.to(memory_format=channels_last))
    assert logits.shape == (4, 1)
    torch.testing.assert_close(logits, contiguous, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", CRITICS)
def test_critics_judge_each_sample_alone(name):
    critic = DISCRIMINATORS[name]()
    assert not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in critic.modules())
    x = torch.randn(4, 3, 16, 16)
    changed = torch.cat([10 * x[:1], x[1:]])
    assert not torch.allclose(critic(x)[0], critic(changed)[0])
    torch.testing.assert_close(critic(x)[1:], critic(changed)[1:], rtol=0, atol=1e-6)


@every_discriminator
def test_double_backward_by_finite_differences(name):
    discriminator = DISCRIMINATORS[name]().double()
    real, fake = torch.randn(2, 3, 3, 16, 16, dtype=torch.float64)
    parameters = list(discriminator.parameters())
    direction = [torch.randn_like(parameter) for parameter in parameters]

    def penalty():
        return gradient_penalty(discriminator, real, fake, generator=torch.Generator().manual_seed(0))

    def shifted(step):
        with torch.no_grad():
            for parameter, d in zip(parameters, direction, strict=True):
                parameter += step * d
        value = penalty().item()
        with torch.no_grad():
            for parameter, d in zip(parameters, direction, strict=True):
                parameter -= step * d
        return value

    # Biases after the last activation have no part in the gradient with respect to the input.
    gradients = torch.autograd.grad(penalty(), parameters, allow_unused=True)
    slope = sum((g * d).sum().item() for g, d in zip(gradients, direction, strict=True) if g is not None)
    step = 1e-7
    assert abs(slope) > 1e-3
    assert (shifted(step) - shifted(-step)) / (2 * step) == pytest.approx(slope, rel=1e-4)


@every_generator
def test_bfloat16_autocast_stays_close(name):
    generator, discriminator, z = GENERATORS[name](), DISCRIMINATORS[name](), torch.randn(8, 8)
    images = generator(z)
    logits = discriminator(images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half_images = generator(z)
        half_logits = discriminator(images)
    # Eight bits of mantissa, through a handful of layers.
    assert (half_images.float() - images).norm() < 0.03 * images.norm()
    assert (half_logits.float() - logits).norm() < 0.03 * logits.norm()


@pytest.mark.parametrize(
    "build",
    [
        lambda shape: networks.DCGANGenerator(shape, 8),
        networks.DCGANDiscriminator,
        lambda shape: networks.ResNetGenerator(shape, 8),
        networks.ResNetDiscriminator,
    ],
    ids=["DCGANGenerator", "DCGANDiscriminator", "ResNetGenerator", "ResNetDiscriminator"],
)
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 64), (3, 4, 4), (3, 512, 512), (2,)])
def test_impossible_sizes_are_refused_in_one_sentence(build, shape, request):
    with pytest.raises(ValueError, match="8, 16, 32, 64, 128, 256; resize or pad") as error:
        build(shape)
    name = request.node.callspec.id.split("-")[-1]
    assert str(error.value).startswith(f"{name} cannot be built for image_shape {shape}")


EVERY_DISCRIMINATOR = DISCRIMINATORS | {
    "patch": lambda: networks.PatchGAN(3, 8, 2),
    "pixel": lambda: networks.PixelGAN(3, 8),
    "stylegan": lambda: networks.StyleGANDiscriminator((3, 16, 16), 0, 64, 8),
    "stylegan2": lambda: networks.StyleGAN2Discriminator((3, 16, 16), 0, 64, 8),
}


@pytest.mark.parametrize("name", EVERY_DISCRIMINATOR)
def test_logits_are_a_head_on_features(name):
    discriminator = EVERY_DISCRIMINATOR[name]()
    x = torch.randn(4, 3, 16, 16)
    features = discriminator.features(x)
    assert torch.equal(discriminator.logits(features), discriminator(x))
    assert features.shape[1] > 1  # more than the logit
    features.sum().backward()  # reaches the body, and not the head
    reached = {name for name, parameter in discriminator.named_parameters() if parameter.grad is not None}
    assert set() < reached < {name for name, _ in discriminator.named_parameters()}
