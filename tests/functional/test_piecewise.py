"""Penalties can skip the second derivative that piecewise linear networks do not have, and skip no other network's."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from gan_modules.functional import gradient_penalty, piecewise, r1, r2
from gan_modules.networks import MLPDiscriminator, ResNetDiscriminator
from gan_modules.networks.patchgan import PatchGAN
from gan_modules.networks.stylegan2 import StyleGAN2Discriminator

CHANNELS, SIZE = 4, 6
skipping_r1 = partial(r1, skip_zero_curvature=True)


class Between(nn.Module):
    """A convolution, an operation, a ReLU and another convolution, over images (N, 3, 6, 6)."""

    def __init__(self, operation):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, CHANNELS, 3, padding=1), nn.Conv2d(CHANNELS, 2, 1)
        self.weight = nn.Parameter(torch.randn(CHANNELS, CHANNELS))
        self.operation = operation

    def forward(self, x):
        h = self.operation(self.first(x), self.weight)
        return self.second(F.leaky_relu(h.reshape(len(x), CHANNELS, -1, 1), 0.2)).flatten(1)


class Mul(torch.autograd.Function):
    """A user's square, whose node is named as the product's but for the number."""

    @staticmethod
    def forward(context, x):
        context.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(context, gradient):
        (x,) = context.saved_tensors
        return 2 * x * gradient


def rows(h):
    return h.reshape(-1, CHANNELS)


STRAIGHT = {
    "AdaptiveAvgPool2DBackward": lambda h, w: F.adaptive_avg_pool2d(h, (2, 3)),
    "AddBackward": lambda h, w: h + 2 * h,
    "AddmmBackward": lambda h, w: F.linear(rows(h), w, w[0]),
    "AvgPool2DBackward": lambda h, w: F.avg_pool2d(h, 2),
    "CatBackward": lambda h, w: torch.cat([h, h], 2),
    "CloneBackward": lambda h, w: h.clone(),
    "ConstantPadNdBackward": lambda h, w: F.pad(h, (1, 1)),
    "ConvolutionBackward": lambda h, w: F.conv2d(h, w[..., None, None]),
    "LeakyReluBackward": lambda h, w: F.leaky_relu(h, 0.1, inplace=True),
    "MaxPool2DWithIndicesBackward": lambda h, w: F.max_pool2d(h, 2),
    "MeanBackward": lambda h, w: h - h.mean(1, keepdim=True),
    "MmBackward": lambda h, w: rows(h) @ w,
    "MulBackward": lambda h, w: h * w[0].view(-1, 1, 1),
    "PermuteBackward": lambda h, w: h.permute(0, 3, 1, 2),
    "ReluBackward": lambda h, w: F.relu(h),
    "SqueezeBackward": lambda h, w: h.mean(2, keepdim=True).squeeze(2),
    "StackBackward": lambda h, w: torch.stack([h, 3 * h], 1),
    "SubBackward": lambda h, w: h - h.sum(1, keepdim=True),
    "SumBackward": lambda h, w: h.sum(3),
    "ToCopyBackward": lambda h, w: h.float().double(),
    "TransposeBackward": lambda h, w: h.transpose(1, 2),
    "UnsafeViewBackward": lambda h, w: torch.ops.aten._unsafe_view(h.contiguous(), [-1, CHANNELS]),
    "UpsampleNearest2DBackward": lambda h, w: F.interpolate(h, scale_factor=2),
    "ViewBackward": lambda h, w: h.contiguous().view(-1, CHANNELS),
}
CURVED = {
    "square": lambda h, w: h * h,
    "square as a matrix": lambda h, w: torch.mm(rows(h), rows(h)[:CHANNELS, :]),
    "convolution with activations": lambda h, w: F.conv2d(h, h.mean((2, 3))[:CHANNELS, :, None, None]),
    "a user's": lambda h, w: Mul.apply(h),
    "tanh": lambda h, w: torch.tanh(h),
    "softplus": lambda h, w: F.softplus(h),
    "quotient": lambda h, w: 1 / (h.square() + 1),
    "deviation": lambda h, w: h + h.std(0, keepdim=True),
}
NETWORKS = {
    "resnet": (lambda: ResNetDiscriminator((3, 8, 8), 4), (3, 8, 8), True),
    "mlp": (lambda: MLPDiscriminator((6,), 8), (6,), True),
    "batch norm": (lambda: PatchGAN(3, 4, layers=1, norm="batch"), (3, 16, 16), False),
    "instance norm": (lambda: PatchGAN(3, 4, layers=1), (3, 16, 16), False),
    "minibatch deviation": (lambda: StyleGAN2Discriminator((3, 8, 8), channel_max=8), (3, 8, 8), False),
    **{
        name: (lambda operation=operation: Between(operation), (3, SIZE, SIZE), straight)
        for operations, straight in ((STRAIGHT, True), (CURVED, False))
        for name, operation in operations.items()
    },
}


def gradients(penalty, network, samples):
    network.zero_grad(set_to_none=True)
    penalty(network, samples).backward()
    return {name: p.grad for name, p in network.named_parameters()}


def test_every_operation_in_the_lists_is_tried():
    assert STRAIGHT.keys() == piecewise.SUMS | piecewise.PRODUCTS | piecewise.MAPS


@pytest.mark.parametrize("name", STRAIGHT)
def test_the_networks_hold_what_they_are_named_after(name):
    samples = torch.randn(4, 3, SIZE, SIZE, dtype=torch.float64, requires_grad=True)
    network = Between(STRAIGHT[name]).double()
    assert name in {node.name().rstrip("0123456789") for node in piecewise._path(network(samples).sum(), samples)}


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_are_those_of_autograd_alone(name):
    build, shape, straight = NETWORKS[name]
    torch.manual_seed(0)
    network = build().double()
    samples = torch.randn(4, *shape, dtype=torch.float64)
    ours, theirs = gradients(skipping_r1, network, samples), gradients(r1, network, samples)
    skipped = {n for n, g in ours.items() if g is None and theirs[n] is not None}
    assert bool(skipped) == straight
    for parameter, expected in theirs.items():
        if parameter in skipped:
            assert not expected.any()
        elif expected is not None:
            torch.testing.assert_close(ours[parameter], expected, rtol=0, atol=0)
    assert any(g is not None and g.any() for g in ours.values())


@pytest.mark.parametrize("penalty", [r1, r2, lambda d, x: gradient_penalty(d, x, x)])
def test_a_penalty_alone_gives_biases_zeros_as_autograd_does(penalty):
    torch.manual_seed(0)
    network, samples = MLPDiscriminator((6,), 8), torch.randn(4, 6)
    seen = []
    network.layers[0].register_full_backward_hook(lambda module, inputs, outputs: seen.append(outputs))
    ours = gradients(penalty, network, samples)
    assert seen
    assert all(gradient is not None for (gradient,) in seen)
    x = samples.clone().requires_grad_()
    network.zero_grad(set_to_none=True)
    (slope,) = torch.autograd.grad(network(x).sum(), x, create_graph=True)
    slope.square().sum().backward()
    theirs = {name: p.grad for name, p in network.named_parameters()}
    biases = [name for name in theirs if name.endswith("bias") and theirs[name] is not None]
    assert len(biases) == 3  # all but the logit's own, which the slope does not depend on
    for name in biases:
        assert torch.equal(ours[name], torch.zeros_like(ours[name]))
    assert {n for n, g in ours.items() if g is None} == {n for n, g in theirs.items() if g is None}


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
        gradient_penalty(network, samples, samples + 1, skip_zero_curvature=True).backward()
    # To the logits, to the samples, and through that gradient: back to the logits, and to the weights. Six without.
    assert penalty.total == pytest.approx(4 * one.total, rel=1e-4)


def test_the_rest_of_a_loss_is_untouched():
    # one backward through logits and penalty: the logits' own gradients pass where the penalty's zeros are dropped
    torch.manual_seed(0)
    network, samples = ResNetDiscriminator((3, 8, 8), 4).double(), torch.randn(4, 3, 8, 8, dtype=torch.float64)
    parts = [gradients(lambda d, x: d(x).sum(), network, samples), gradients(skipping_r1, network, samples)]
    both = gradients(lambda d, x: d(x).sum() + skipping_r1(d, x), network, samples)
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
    (exact,) = torch.autograd.grad(skipping_r1(network, samples), weight)
    step, row, column = 1e-6, 2, 3
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            weight[row, column] += sign * step
        values.append(skipping_r1(network, samples).item())
        with torch.no_grad():
            weight[row, column] -= sign * step
    assert exact[row, column].item() == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-6)
