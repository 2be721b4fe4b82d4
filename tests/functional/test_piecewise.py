"""Penalties skip the second derivative that piecewise linear networks do not have, and that of no other network."""

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from gan_modules.functional import gradient_penalty, r1, regularizers
from gan_modules.networks import MLPDiscriminator, ResNetDiscriminator
from gan_modules.networks.patchgan import PatchGAN
from gan_modules.networks.stylegan2 import StyleGAN2Discriminator


class Residual(nn.Module):
    """Sums, scales, concatenations and reshapes in one network of convolutions."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 1), nn.Linear(128, 1)

    def forward(self, x):
        h = nn.functional.leaky_relu(0.5 * self.first(x), 0.2, inplace=True)
        h = torch.cat([h + self.second(h), h - x.mean(1, keepdim=True)], 1)
        return self.head(nn.functional.avg_pool2d(h, 2).transpose(2, 3).reshape(len(x), -1))


class Attention(nn.Module):
    """A product of two activations: every operation is in the list, the network is not piecewise linear."""

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(6, 4), nn.Linear(6, 4)

    def forward(self, x):
        x = x.flatten(1)
        return (self.left(x) * self.right(x)).sum(1)


class Square(nn.Module):
    """A product of an activation with itself, by a matrix product."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(6, 6)

    def forward(self, x):
        h = self.inner(x.flatten(1))
        return torch.mm(h, h.t()).mean(1)


SMALL = (3, 1, 2)
NETWORKS = {
    "resnet": (lambda: ResNetDiscriminator((3, 8, 8), 4), (3, 8, 8), True),
    "mlp": (lambda: MLPDiscriminator((6,), 8), (6,), True),
    "residual": (Residual, (3, 8, 8), True),
    "batch norm": (lambda: PatchGAN(3, 4, layers=1, norm="batch"), (3, 16, 16), False),
    "minibatch deviation": (lambda: StyleGAN2Discriminator((3, 8, 8), channel_max=8), (3, 8, 8), False),
    "softplus": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(6, 4), nn.Softplus(), nn.Linear(4, 1)), SMALL, False),
    "layer norm": (lambda: nn.Sequential(nn.Flatten(), nn.LayerNorm(6), nn.Linear(6, 1)), SMALL, False),
    "attention": (Attention, SMALL, False),
    "square": (Square, SMALL, False),
}


def gradients(penalty, network, samples):
    network.zero_grad(set_to_none=True)
    penalty(network, samples).backward()
    return {name: p.grad for name, p in network.named_parameters()}


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_are_those_of_autograd_alone(name, monkeypatch):
    build, shape, straight = NETWORKS[name]
    torch.manual_seed(0)
    network = build().double()
    samples = torch.randn(4, *shape, dtype=torch.float64)
    ours = gradients(r1, network, samples)
    monkeypatch.setattr(regularizers, "skip_zero_curvature", lambda *_: None)
    theirs = gradients(r1, network, samples)
    skipped = {n for n, g in ours.items() if g is None and theirs[n] is not None}
    assert bool(skipped) == straight
    for parameter, expected in theirs.items():
        if parameter in skipped:
            assert not expected.any()
        elif expected is not None:
            torch.testing.assert_close(ours[parameter], expected, rtol=0, atol=0)
    assert any(g is not None and g.any() for g in ours.values())


class Flops(TorchDispatchMode):
    """Count as FlopCounterMode does, which cannot follow `torch.autograd.grad` through modules."""

    total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if count := flop_registry.get(func.overloadpacket):
            self.total += count(*args, **(kwargs or {}), out_val=result)
        return result


def test_a_penalty_on_a_piecewise_linear_network_costs_four_passes():
    torch.manual_seed(0)
    network, samples = ResNetDiscriminator((3, 16, 16), 8), torch.randn(4, 3, 16, 16)
    with Flops() as one:
        network(samples)
    with Flops() as penalty:
        gradient_penalty(network, samples, samples + 1).backward()
    # To the logits, to the samples, and through that gradient: back to the logits, and to the weights. Six without.
    assert penalty.total == pytest.approx(4 * one.total, rel=1e-4)


def test_the_rest_of_a_loss_is_untouched():
    # one backward through logits and penalty: the logits' own gradients pass where the penalty's zeros are dropped
    torch.manual_seed(0)
    network, samples = Residual().double(), torch.randn(4, 3, 8, 8, dtype=torch.float64)
    parts = [gradients(lambda d, x: d(x).sum(), network, samples), gradients(r1, network, samples)]
    both = gradients(lambda d, x: d(x).sum() + r1(d, x), network, samples)
    for name, gradient in both.items():
        expected = sum(part[name] for part in parts if part[name] is not None)
        torch.testing.assert_close(gradient, expected, rtol=1e-12, atol=1e-14)


def test_spectral_normalisation_keeps_its_own_derivative():
    # the weight is itself computed: what goes back to it must not be dropped
    torch.manual_seed(0)
    layer = nn.utils.parametrizations.spectral_norm(nn.Linear(6, 4)).double()
    network, samples = nn.Sequential(layer, nn.LeakyReLU(0.2), nn.Linear(4, 1).double()), torch.randn(5, 6).double()
    network(samples)
    network.eval()  # no power iteration between the differences
    weight = layer.parametrizations.weight.original
    (exact,) = torch.autograd.grad(r1(network, samples), weight)
    step, row, column = 1e-6, 2, 3
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            weight[row, column] += sign * step
            layer.weight  # noqa: B018 - recomputed from the changed weight
        values.append(r1(network, samples).item())
        with torch.no_grad():
            weight[row, column] -= sign * step
    assert exact[row, column].item() == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-6)
