"""The fully connected networks: what they compute, and what labels do."""

import math

import pytest
import torch
from torch.nn import functional as F

from gan_modules.networks import MLPDiscriminator, MLPGenerator


def linears(network):
    return [module for module in network.modules() if isinstance(module, torch.nn.Linear)]


@pytest.mark.parametrize("num_classes", [0, 3])
def test_generator_is_a_relu_perceptron_on_latent_and_embedding(num_classes):
    torch.manual_seed(0)
    generator = MLPGenerator((2, 3, 4), latent_dim=5, hidden_dim=7, num_layers=2, num_classes=num_classes)
    z, labels = torch.randn(6, 5), torch.tensor([0, 1, 2, 0, 1, 2])
    first, second, last = linears(generator)
    if num_classes:
        given, embedded = (z, labels), F.one_hot(labels).float() @ generator.embedding.weight
    else:
        given, embedded = (z,), z[:, :0]
    hidden = F.relu(second(F.relu(first(torch.cat([z, embedded], 1)))))
    torch.testing.assert_close(generator(*given), last(hidden).tanh().reshape(6, 2, 3, 4))


@pytest.mark.parametrize("num_classes", [0, 3])
def test_discriminator_is_a_leaky_perceptron_on_image_and_embedding(num_classes):
    torch.manual_seed(0)
    discriminator = MLPDiscriminator((2, 3, 4), hidden_dim=7, num_layers=1, num_classes=num_classes)
    x, labels = torch.randn(6, 2, 3, 4), torch.tensor([0, 1, 2, 0, 1, 2])
    first, last = linears(discriminator)
    flat = x.reshape(6, 24)
    if num_classes:
        flat = torch.cat([flat, F.one_hot(labels).float() @ discriminator.embedding.weight], 1)
    hidden = first(flat)
    expected = last(torch.where(hidden > 0, hidden, 0.2 * hidden))
    torch.testing.assert_close(discriminator(x, labels) if num_classes else discriminator(x), expected)


def test_points_are_unbounded_and_images_are_not():
    torch.manual_seed(0)
    z = 100 * torch.randn(64, 8)
    points, images = MLPGenerator((2,), 8)(z), MLPGenerator((1, 4, 4), 8)(z)
    assert points.shape == (64, 2)
    assert points.abs().max() > 1
    assert images.shape == (64, 1, 4, 4)
    assert images.abs().max() <= 1


def test_parameters_are_counted_by_hand():
    generator = MLPGenerator((1, 28, 28), latent_dim=100, hidden_dim=256, num_layers=2, num_classes=10)
    discriminator = MLPDiscriminator((1, 28, 28), hidden_dim=256, num_layers=2, num_classes=10)
    assert sum(p.numel() for p in generator.parameters()) == 100 + 111 * 256 + 257 * 256 + 257 * 784
    assert sum(p.numel() for p in discriminator.parameters()) == 100 + 795 * 256 + 257 * 256 + 257


def test_weights_start_as_he_and_glorot():
    torch.manual_seed(0)
    first, second, last = linears(MLPGenerator((1, 20, 20), latent_dim=300, hidden_dim=400, num_layers=2))
    # Standard error of a standard deviation over more than 100,000 uniform numbers: under 0.2 %.
    assert first.weight.std().item() == pytest.approx(math.sqrt(2 / 300), rel=0.01)
    assert second.weight.std().item() == pytest.approx(math.sqrt(2 / 400), rel=0.01)
    assert last.weight.std().item() == pytest.approx(math.sqrt(2 / (400 + 400)), rel=0.01)


def test_labels_change_the_outputs_they_belong_to():
    torch.manual_seed(0)
    generator = MLPGenerator((1, 4, 4), latent_dim=8, num_classes=3)
    discriminator = MLPDiscriminator((1, 4, 4), num_classes=3)
    z, before, after = torch.randn(2, 8), torch.tensor([0, 1]), torch.tensor([2, 1])
    x = generator(z, before)
    assert not torch.allclose(generator(z, after)[0], x[0], atol=1e-3)
    torch.testing.assert_close(generator(z, after)[1], x[1])
    assert not torch.allclose(discriminator(x, after)[0], discriminator(x, before)[0], atol=1e-3)
    torch.testing.assert_close(discriminator(x, after)[1], discriminator(x, before)[1])


def test_labels_that_do_not_fit_are_refused():
    z, x, labels = torch.randn(2, 8), torch.randn(2, 2), torch.tensor([0, 1])
    for plain, samples in [(MLPGenerator((2,), 8), z), (MLPDiscriminator((2,)), x)]:
        with pytest.raises(ValueError, match="no classes: pass no labels"):
            plain(samples, labels)
    for conditional, samples in [
        (MLPGenerator((2,), 8, num_classes=3), z),
        (MLPDiscriminator((2,), num_classes=3), x),
    ]:
        with pytest.raises(ValueError, match="3 classes: pass labels"):
            conditional(samples)
