"""ADA's augmentation against SciPy, closed forms, and the distributions that the paper states."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from scipy.signal import upfirdn

from gan_modules.functional.augment import (
    SYM6,
    augment_bgc,
    colour_matrix,
    random_colour,
    random_transform,
    recolour,
    warp,
)

DEVICE = torch.device("cpu")
IDENTITY = torch.eye(3, dtype=torch.float64)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def matrix(a, b, c, d, x=0.0, y=0.0):
    return torch.tensor([[a, b, x], [c, d, y], [0, 0, 1]], dtype=torch.float64)


def rotation(degrees, scale=1.0, x=0.0, y=0.0):
    cos, sin = scale * math.cos(math.radians(degrees)), scale * math.sin(math.radians(degrees))
    return matrix(cos, -sin, sin, cos, x, y)


def smooth_images(height=20, width=20):
    """Slow waves, far below the frequencies that the filter cuts."""
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    waves = [torch.sin(0.3 * x + 0.2 * y), torch.cos(0.1 * x - 0.35 * y), torch.sin(0.25 * y) * torch.cos(0.2 * x)]
    return torch.stack(waves).double()[None]


def by_scipy(image, transform, margin):
    """The paper's steps with a margin padded on all sides: upsample, look up, downsample."""
    taps, (_, height, width) = np.array(SYM6), image.shape
    x, y = ((np.arange(-6, 2 * side + 6) + 1) / 2 - side / 2 for side in (width, height))
    places = np.stack([*np.meshgrid(x, y), np.ones((len(y), len(x)))], -1) @ transform.numpy().T
    rows, columns = (2 * (places[..., axis] + side / 2 + margin) - 1 for axis, side in ((1, height), (0, width)))
    result = []
    for channel in image.numpy():
        padded = np.pad(channel, margin, mode="reflect")
        fine = upfirdn(2 * taps, upfirdn(2 * taps, padded, 2, axis=0), 2, axis=1)[5:-5, 5:-5]
        samples = map_coordinates(fine, [rows, columns], order=1)
        for axis in (0, 1):
            full = upfirdn(taps[::-1], samples, 1, axis=axis)  # a correlation, then every second
            samples = full.take(range(12, 12 + 2 * (samples.shape[axis] // 2 - 6), 2), axis=axis)
        result.append(samples)
    return np.array(result)


@pytest.mark.parametrize(
    "transform",
    [
        rotation(0),
        rotation(17, x=0.3, y=-0.2),
        rotation(-100, scale=0.8),
        matrix(-1, 0, 0, 1),
        matrix(0.7, 0.2, -0.1, 1.1, 0.4, 1.7),
        rotation(40, scale=1.6, x=3, y=-5),
    ],
)
@pytest.mark.parametrize("size", [(16, 16), (14, 20)])
def test_warp_is_the_papers(transform, size):
    image = torch.randn(2, *size, dtype=torch.float64)
    result = warp(image[None], transform[None])[0].numpy()
    expected = by_scipy(image, transform, margin=40)
    height, width = size
    y, x = np.meshgrid(*(np.arange(side) + 0.5 - side / 2 for side in size), indexing="ij")
    found = np.stack([x, y, np.ones_like(x)], -1) @ transform.numpy().T
    # Samples reach 3 pixels beyond an output's, and 3 pixels beyond the input's are there as they would be padded.
    limit_x, limit_y = np.array([width, height]) / 2 + 3 - 3.25 * np.abs(transform[:2, :2].numpy()).sum(1)
    inside = (np.abs(found[..., 0]) < limit_x) & (np.abs(found[..., 1]) < limit_y)
    assert inside.any()
    np.testing.assert_allclose(result[:, inside], expected[:, inside], atol=1e-9)
    # Outside, what is reflected is the upsampled image, not its pixels: nearly the same, of a nearly even filter.
    assert np.abs(result - expected).mean() < 0.04


def test_identity_is_exact_for_any_content():
    images = torch.randn(3, 4, 8, 12)
    torch.testing.assert_close(warp(images, IDENTITY.expand(3, 3, 3)), images, rtol=0, atol=1e-5)
    torch.testing.assert_close(augment_bgc(images[:, :3], torch.tensor(0.0)), images[:, :3], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        (matrix(-1, 0, 0, 1), lambda x: x.flip(3)),
        (rotation(90), lambda x: x.rot90(1, (2, 3))),
        (rotation(180), lambda x: x.rot90(2, (2, 3))),
    ],
)
def test_blitting_of_smooth_images(transform, expected):
    # The filter is not quite even: a mirrored image is off by a tenth of a pixel.
    images = smooth_images()
    torch.testing.assert_close(warp(images, transform[None]), expected(images), rtol=0, atol=0.07)


def test_whole_pixels_move_exactly_and_the_rest_is_reflected():
    images = torch.randn(1, 3, 12, 12, dtype=torch.float64)
    moved = warp(images, matrix(1, 0, 0, 1, 2, -3)[None]).numpy()
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (3, 3), (3, 3)), mode="reflect")
    expected = padded[..., 0:12, 5:17]  # 2 to the right of x, 3 above y
    np.testing.assert_allclose(moved[..., 6:, :-6], expected[..., 6:, :-6], atol=1e-9)
    assert np.abs(moved - expected).max() < 0.1


def test_scaling_of_smooth_images():
    """Pixels (x, y) from the centre show what was at (x, y)/2."""
    images = smooth_images()
    y, x = torch.meshgrid(torch.arange(20) + 0.5, torch.arange(20) + 0.5, indexing="ij")
    expected = torch.sin(0.3 * (x / 2 + 5) + 0.2 * (y / 2 + 5))
    torch.testing.assert_close(warp(images, rotation(0, 0.5)[None])[0, 0], expected.double(), rtol=0, atol=0.02)


def test_warp_can_be_differentiated_twice():
    images = torch.randn(1, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    transform = rotation(20, scale=1.1, x=0.4)[None]

    def energy(x):
        return warp(x, transform)[..., ::3, ::3].square().sum((1, 2, 3))

    assert torch.autograd.gradcheck(energy, images)
    assert torch.autograd.gradgradcheck(energy, images)


def test_all_of_it_can_be_differentiated_twice():
    images = torch.randn(1, 3, 8, 8, dtype=torch.float64, requires_grad=True)

    def energy(x):
        torch.manual_seed(3)  # the same draw each time
        return augment_bgc(x, torch.tensor(0.9)).square().sum()

    assert torch.autograd.gradgradcheck(energy, images, fast_mode=True)


def change(images, **values):
    neutral = {"brightness": 0.0, "contrast": 1.0, "luma": 1.0, "hue": 0.0, "saturation": 1.0}
    values = {name: torch.full((len(images), 1, 1), value) for name, value in (neutral | values).items()}
    return recolour(images, colour_matrix(**values))


def test_colours_in_closed_form():
    images = torch.rand(2, 3, 4, 5) * 2 - 1
    grey = images.mean(1, keepdim=True)
    for values, expected in (
        ({}, images),
        ({"brightness": 0.3}, images + 0.3),
        ({"contrast": 1.7}, images * 1.7),
        ({"brightness": 0.3, "contrast": 1.7}, (images + 0.3) * 1.7),
        ({"luma": -1.0}, images - 2 * grey),
        ({"saturation": 0.0}, grey.expand_as(images)),
        ({"saturation": 2.0}, grey + 2 * (images - grey)),
        ({"hue": 2 * math.pi / 3}, images.roll(1, 1)),  # red becomes green
        ({"hue": math.pi}, 2 * grey - images),
        ({"hue": math.pi, "luma": -1.0}, -images),
    ):
        torch.testing.assert_close(change(images, **values), expected)


def test_of_greys_brightness_contrast_and_luma_are_left():
    images = torch.rand(2, 1, 4, 5) * 2 - 1
    values = {"brightness": 0.3, "contrast": 1.7, "luma": -1.0, "hue": 1.0, "saturation": 0.2}
    torch.testing.assert_close(change(images, **values), -1.7 * (images + 0.3))
    torch.testing.assert_close(change(images.expand(-1, 3, -1, -1), **values)[:, :1], change(images, **values))


def test_other_channels_keep_their_colours():
    images = torch.full((64, 4, 8, 8), 0.5)
    torch.testing.assert_close(augment_bgc(images, 1.0), images, rtol=0, atol=1e-4)


N = 20_000


def within(share, expected):
    """Four deviations of a share among N draws, and the few draws that are too small to be seen."""
    assert abs(share - expected) < 4 * math.sqrt(expected * (1 - expected) / N) + 1e-3, (share, expected)


@pytest.mark.parametrize("p", [0.0, 0.3, 0.8, 1.0, 1.4])
def test_each_transformation_has_probability_p(p):
    transforms, q = random_transform(N, (16, 16), DEVICE, torch.tensor(p)), min(p, 1.0)
    # What leaves an image as it is: each kind's absence, or its draw of nothing: no flip with 1/2, no quarter turn with
    # 1/4, no whole pixel with (1/4)² of ±2.
    still = (1 - q / 2) * (1 - 3 * q / 4) * (1 - 15 * q / 16) * (1 - q) ** 4
    same = (transforms - torch.eye(3)).abs().amax((1, 2)) < 1e-5
    within(same.float().mean().item(), still)
    determinants = torch.linalg.det(transforms[:, :2, :2])
    within((determinants < 0).float().mean().item(), q / 2)
    within(((determinants.abs() - 1).abs() > 1e-4).float().mean().item(), q)
    colours = random_colour(N, DEVICE, torch.tensor(p))
    grey = torch.ones(3) / 3**0.5
    along = (colours[..., :3] @ grey) @ grey  # ± contrast
    within((along < 0).float().mean().item(), q / 2)
    within(((along.abs() - 1).abs() > 1e-5).float().mean().item(), q)
    within((colours[:, 0, 3] != 0).float().mean().item(), q)


def test_strengths_are_the_papers():
    transforms = random_transform(N, (40, 40), DEVICE, 1.0)
    scale = torch.linalg.det(transforms[:, :2, :2]).abs().log2() / 2
    assert scale.std().item() == pytest.approx(0.2, rel=0.03)
    stretch = torch.linalg.svdvals(transforms[:, :2, :2])
    assert (stretch[:, 0] / stretch[:, 1]).log2().square().mean().sqrt().item() == pytest.approx(0.4, rel=0.03)
    angle = torch.atan2(transforms[:, 1, 0], transforms[:, 0, 0])
    assert angle.cos().mean().abs() < 0.03
    assert angle.sin().mean().abs() < 0.03
    # Whole pixels to ±1/8 of the size, of which the two ends have half a share; and σ = 1/8, before both scalings.
    whole = sum(0.1 * t**2 for t in range(-4, 5)) + 0.1 * 5**2
    mean_square = math.exp(2 * (0.2 * math.log(2)) ** 2)  # of 2**(0.2·n)
    expected = math.sqrt(whole + 5**2 * mean_square**2)
    assert transforms[:, 0, 2].std().item() == pytest.approx(expected, rel=0.03)
    colours = random_colour(N, DEVICE, 1.0)
    contrast = (colours[..., :3].sum((1, 2)) / 3).abs()
    assert contrast.log2().std().item() == pytest.approx(0.5, rel=0.03)
    assert (colours[:, 0, 3].abs() / contrast).square().mean().sqrt().item() == pytest.approx(0.2, rel=0.03)
    across = torch.linalg.svdvals(colours[..., :3] / contrast[:, None, None])
    saturation = across[:, 0] * across[:, 1] * across[:, 2]  # its square
    assert (saturation.log2() / 2).std().item() == pytest.approx(1.0, rel=0.03)


def test_images_are_drawn_each_on_its_own_and_in_float32():
    images = smooth_images().float().expand(4, -1, -1, -1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.manual_seed(1)
        changed = augment_bgc(images.bfloat16(), torch.tensor(1.0))
    assert changed.dtype == torch.float32
    torch.manual_seed(1)
    torch.testing.assert_close(augment_bgc(images.bfloat16().float(), torch.tensor(1.0)), changed)
    assert all(not torch.allclose(changed[i], changed[j], atol=0.1) for i in range(4) for j in range(i))


def test_a_new_probability_compiles_nothing_anew():
    compiled = torch.compile(augment_bgc, fullgraph=True, backend="eager")
    p, images = torch.zeros(()), torch.randn(2, 3, 8, 8)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    for value in (0.0, 0.3, 0.7):
        compiled(images, p.fill_(value))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
