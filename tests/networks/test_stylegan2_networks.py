"""StyleGAN2's networks against the authors' outputs on golden weights, and what no golden file can show."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from gan_modules.functional import regularizers
from gan_modules.interop import read_nvidia, to_nvidia_state_dict
from gan_modules.networks import StyleGAN2Discriminator, StyleGAN2Generator
from gan_modules.networks.equalized import EqualizedConv, EqualizedLinear, minibatch_stddev, pixel_norm
from gan_modules.networks.mapping import Mapping

GOLDEN = Path(__file__).parents[1] / "golden" / "stylegan2_r32"


@pytest.fixture(scope="module")
def golden():
    with np.load(f"{GOLDEN}.npz", allow_pickle=False) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files if name != "config"}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def generator(size=16, classes=0, **options):
    return StyleGAN2Generator((3, size, size), 8, classes, 12, 2, channel_base=128, channel_max=16, **options)


def discriminator(size=16, classes=0, **options):
    return StyleGAN2Discriminator((3, size, size), classes, channel_base=128, channel_max=16, **options)


@pytest.mark.parametrize("training", [False, True], ids=["grouped", "scaled"])
def test_parity_with_the_authors(golden, training, record_property):
    """Each output within 1e-4 of its scale, in both forms of the modulated convolution."""
    _, nets = read_nvidia(f"{GOLDEN}.pkl")
    network, judge = nets["G_ema"], nets["D"].train(training)
    network.synthesis.train(training)

    def draw(ws, noise):
        """All at once in training; in evaluation one by one, for which the weights are scaled."""
        return torch.cat([network.synthesis(part, noise) for part in ws.split(4 if training else 1)])

    ws = network.mapping(golden["z"])
    mixed = torch.cat([ws[:, :4], ws.roll(1, 0)[:, 4:]], 1)
    real = golden["real"].requires_grad_()
    r1 = torch.autograd.grad(judge(real).sum(), real, create_graph=True)[0].square().sum((1, 2, 3))
    slopes = torch.autograd.grad(r1.mean(), list(judge.parameters()), allow_unused=True)
    names = [name for name, _ in judge.named_parameters()]
    theirs = dict(zip(names, to_nvidia_state_dict(judge), strict=False))  # the same order, filters last
    paths = ws.detach().requires_grad_()
    ours = {
        "ws": ws,
        "img": draw(ws, "const"),
        "img_nonoise": draw(ws, "none"),
        "img_trunc07": draw(network.mapping(golden["z"], truncation=0.7), "const"),
        "ws_trunc05_cut4": network.mapping(golden["z"], truncation=0.5, truncation_cutoff=4),
        "img_mix4": draw(mixed, "const"),
        "logits_real": judge(golden["real"]),
        "logits_fake": judge(golden["img"]),
        "r1_per_image": r1,
        "pl_lengths": regularizers.path_lengths(draw(paths, "const"), paths, golden["pl_noise"]),
    }
    ours |= {
        f"r1grad.D.{theirs[name]}": slope
        for name, slope in zip(names, slopes, strict=True)
        if f"r1grad.D.{theirs[name]}" in golden
    }
    assert len(ours) == 14
    table = {name: ((own - golden[name]).abs().max() / golden[name].abs().max()).item() for name, own in ours.items()}
    record_property("table", table)
    assert max(table.values()) < 1e-4, table


def test_parameters_at_1024():
    with torch.device("meta"):
        networks = StyleGAN2Generator((3, 1024, 1024)), StyleGAN2Discriminator((3, 1024, 1024))
    assert [sum(p.numel() for p in network.parameters()) for network in networks] == [30_370_060, 29_012_513]
    assert networks[0].num_ws == 18


def test_compiled_without_graph_breaks():
    network, judge = generator(64, classes=3), discriminator(64, classes=3)
    z, labels = torch.randn(4, 8), torch.arange(4) % 3
    for training, n in ((False, 1), (True, 4)):
        images = network.train(training)(z[:n], labels[:n], noise="const")
        compiled = torch.compile(network, fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(z[:n], labels[:n], noise="const"), images, rtol=1e-4, atol=1e-4)
    compiled = torch.compile(judge, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(images, labels), judge(images, labels), rtol=1e-4, atol=1e-4)


def test_double_backward_by_finite_differences():
    judge, real = discriminator(8, classes=2).double(), torch.randn(4, 3, 8, 8, dtype=torch.float64)
    network = generator(8).double().train()
    for parameter in network.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    styles = torch.randn(2, network.num_ws, 12, dtype=torch.float64, requires_grad=True)
    noise = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    penalties = {
        judge: lambda: regularizers.r1(judge, real, torch.tensor([0, 1, 1, 0])),
        network.synthesis: lambda: (
            regularizers.path_lengths(network.synthesis(styles, "const"), styles, noise).square().mean()
        ),
    }
    for net, penalty in penalties.items():
        parameters = list(net.parameters())
        direction = [torch.randn_like(parameter) for parameter in parameters]
        gradients = torch.autograd.grad(penalty(), parameters, allow_unused=True)
        slope = sum((g * d).sum().item() for g, d in zip(gradients, direction, strict=True) if g is not None)
        values = []
        for step in (1e-6, -1e-6):
            with torch.no_grad():
                torch._foreach_add_(parameters, direction, alpha=step)
            values.append(penalty().item())
            with torch.no_grad():
                torch._foreach_sub_(parameters, direction, alpha=step)
        assert abs(slope) > 1e-3
        assert (values[0] - values[1]) / 2e-6 == pytest.approx(slope, rel=1e-4)


@pytest.mark.parametrize("training", [False, True])
def test_channels_last(training):
    network, judge, z = generator().train(training), discriminator().train(training), torch.randn(4, 8)
    images = network(z, noise="const")
    logits = judge(images)
    for net in (network, judge):
        net.to(memory_format=torch.channels_last)
    torch.testing.assert_close(network(z, noise="const"), images, rtol=0, atol=1e-5)
    torch.testing.assert_close(judge(images.contiguous(memory_format=torch.channels_last)), logits, rtol=0, atol=1e-5)


def test_bfloat16_autocast_stays_close():
    network, judge, z = generator(32), discriminator(32), torch.randn(8, 8)
    images = network(z, noise="const")
    logits = judge(images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half_images, half_logits = network(z, noise="const"), judge(images)
        assert torch.equal(network.mapping(z), network.eval().mapping(z))  # linear layers stay in float32
    assert half_images.dtype == half_logits.dtype == torch.float32
    assert (half_images - images).norm() < 0.03 * images.norm()
    assert (half_logits - logits).norm() < 0.05 * logits.norm()


def test_half_precision_is_for_training_and_for_the_top():
    torch.manual_seed(1)
    full, full_judge = generator(32), discriminator(32)
    network, judge = generator(32, half_precision_layers=2), discriminator(32, half_precision_layers=2)
    network.load_state_dict(full.state_dict())
    judge.load_state_dict(full_judge.state_dict())
    ws = full.mapping(torch.randn(8, 8))
    dtypes = {}

    def note(key):
        def hook(_module, _inputs, output):
            dtypes.setdefault(key, output.dtype)

        return hook

    for name, net in (("G", network.synthesis), ("D", judge)):
        for size, block in net.blocks.items():
            (block.convs["conv1"] if name == "G" else block.conv0).register_forward_hook(note((name, size)))
    images, half_images = full.synthesis(ws, "const"), network.synthesis(ws, "const")
    logits, half_logits = full_judge(images), judge(images)
    assert {key for key, dtype in dtypes.items() if dtype == torch.bfloat16} == {
        (name, size) for name in "GD" for size in ("b16", "b32")
    }
    assert 0 < (half_images - images).norm() < 0.03 * images.norm()
    assert 0 < (half_logits - logits).norm() < 0.05 * logits.norm()
    (half_images.square().mean() + half_logits.square().mean()).backward()
    assert all(p.grad.dtype == torch.float32 and p.grad.isfinite().all() for p in network.synthesis.parameters())
    for net in (full, full_judge, network, judge):
        net.eval()
    assert torch.equal(network.synthesis(ws, "const"), full.synthesis(ws, "const"))
    assert torch.equal(judge(images), full_judge(images))


def test_the_clamp_bounds_what_each_block_adds():
    network = generator(8, conv_clamp=2.0)
    for parameter in network.synthesis.parameters():
        parameter.data.mul_(1e4)
    images = network(torch.randn(4, 8))
    assert images.abs().max() <= 2 + 2  # of 4×4, smoothly upsampled, and of 8×8
    assert images.abs().max() > 2
    network = generator(8, conv_clamp=None)
    network.synthesis.blocks["b8"].torgb.bias.data.fill_(1e4)
    assert network(torch.randn(4, 8)).min() > 9e3


def test_noise():
    network, z = generator().eval(), torch.randn(2, 8)
    assert torch.equal(network(z, noise="none"), network(z, noise="random"))  # its strength starts at 0
    for name, parameter in network.named_parameters():
        if name.endswith("noise_strength"):
            parameter.data.fill_(0.5)
    assert torch.equal(network(z, noise="const"), network(z, noise="const"))
    assert not torch.allclose(network(z), network(z))
    same = network(z[:1].expand(2, -1))
    assert not torch.allclose(same[0], same[1])  # noise differs between images


def test_orig_discriminator_is_a_chain_of_convolutions():
    judge = discriminator(8, residual=False).double().eval()
    assert not any("skip" in name for name, _ in judge.named_parameters())
    x = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    block, end = judge.blocks["b8"], judge.epilogue
    taps = torch.tensor([1.0, 3, 3, 1], dtype=torch.float64) / 8

    def layer(x, conv, **options):
        weight = conv.weight / math.sqrt(conv.weight[0].numel())
        return math.sqrt(2) * F.leaky_relu(F.conv2d(x, weight, conv.bias, **options), 0.2)

    y = layer(layer(x, block.fromrgb), block.conv0, padding=1)
    y = F.conv2d(F.pad(y, (2, 2, 2, 2)).flatten(0, 1)[:, None], torch.outer(taps, taps)[None, None]).unflatten(
        0, (4, -1)
    )
    y = layer(y[:, :, 0], block.conv1, stride=2)
    # one group of four: the deviation of all four images, the mean of it over features and pixels
    y = torch.cat([y, y.std(0, unbiased=False).mean().expand(4, 1, 4, 4)], 1)
    y = layer(y, end.conv, padding=1).flatten(1)
    y = math.sqrt(2) * F.leaky_relu(y @ end.fc.weight.T / math.sqrt(y.shape[1]) + end.fc.bias, 0.2)
    expected = y @ end.out.weight.T / math.sqrt(y.shape[1]) + end.out.bias
    torch.testing.assert_close(judge(x), expected, rtol=1e-6, atol=1e-6)


def test_classes_enter_as_the_authors_let_them():
    mapping = Mapping(5, 6, num_ws=3, layers=1, num_classes=4).eval()
    mapping.embed.bias.data.normal_()
    mapping.layers.fc0.bias.data.normal_(std=100)
    z, labels = torch.randn(7, 5), torch.tensor([0, 1, 2, 3, 3, 2, 0])
    embedded = mapping.embed.weight.T[labels] / 2 + mapping.embed.bias  # 1/√4
    x = torch.cat([F.rms_norm(z, (5,), eps=1e-8), F.rms_norm(embedded, (6,), eps=1e-8)], 1)
    fc = mapping.layers.fc0
    expected = F.leaky_relu(x @ fc.weight.T * 0.01 / math.sqrt(11) + 0.01 * fc.bias, 0.2) * math.sqrt(2)
    torch.testing.assert_close(mapping(z, labels), expected[:, None].expand(7, 3, 6))
    judge, images = discriminator(8, classes=3).eval(), torch.randn(2, 3, 8, 8)
    features = []
    judge.epilogue.register_forward_hook(lambda _m, _i, out: features.append(out))
    logits = judge(images, torch.tensor([2, 0]))
    directions = judge.mapping(torch.tensor([2, 0]))
    torch.testing.assert_close(logits, (features[0] * directions).sum(1, keepdim=True) / 4)  # √16
    for network in (generator(8, classes=3), judge):
        with pytest.raises(ValueError, match="built for 3 classes: pass a label for each image"):
            network(torch.randn(2, 8) if network is not judge else images)


def test_the_mean_style_follows_training_passes_alone():
    mapping = Mapping(4, 6, num_ws=2, layers=1)
    batches = torch.randn(3, 10, 4)
    expected = torch.zeros(6)
    for z in batches:
        expected = 0.995 * expected + 0.005 * mapping(z)[:, 0].mean(0)
    torch.testing.assert_close(mapping.w_avg, expected)
    mapping.eval()(batches[0])
    torch.testing.assert_close(mapping.w_avg, expected)


@pytest.mark.parametrize(("n", "group", "size"), [(8, 4, 4), (3, 4, 3), (6, 4, 3), (4, 1, 1)])
def test_minibatch_deviation_by_hand(n, group, size):
    x = torch.randn(n, 5, 3, 3)
    expected = torch.empty(n)
    for i in range(n):
        others = [j for j in range(n) if j % (n // size) == i % (n // size)]
        expected[i] = (x[others].numpy().var(0) + 1e-8).__pow__(0.5).mean().item()
    result = minibatch_stddev(x, group)
    torch.testing.assert_close(result[:, :5], x)
    torch.testing.assert_close(result[:, 5], expected[:, None, None].expand(n, 3, 3))


def test_layers_start_at_unit_variance_whatever_their_speed():
    x = torch.randn(4000, 50)
    for multiplier in (1.0, 0.01):
        layer = EqualizedLinear(50, 60, lr_multiplier=multiplier, bias_init=0.5)
        assert layer.weight.std().item() == pytest.approx(1 / multiplier, rel=0.05)
        y = layer(x)
        assert y.std(0).mean().item() == pytest.approx(1, rel=0.1)
        assert y.mean().item() == pytest.approx(0.5, abs=0.05)
    conv = EqualizedConv(50, 60, 3, gain=2.0)
    assert conv(torch.randn(10, 50, 12, 12))[..., 1:-1, 1:-1].std().item() == pytest.approx(2, rel=0.1)
    assert pixel_norm(torch.randn(3, 7) * 100).square().mean(1).tolist() == pytest.approx([1] * 3)


@pytest.mark.parametrize("build", [StyleGAN2Generator, StyleGAN2Discriminator])
@pytest.mark.parametrize("shape", [(3, 28, 28), (3, 32, 64), (1, 4, 4), (3, 2048, 2048), (2,)])
def test_impossible_sizes(build, shape):
    with pytest.raises(ValueError, match="8, 16, 32, 64, 128, 256, 512, 1024; resize or pad") as error:
        build(shape)
    assert str(error.value).startswith(f"{build.__name__} cannot be built for image_shape {shape}")
    with pytest.raises(ValueError, match="take a channel_base of at least 64"):
        build((3, 64, 64), channel_base=32)
