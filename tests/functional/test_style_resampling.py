"""Resampling and modulated convolution against SciPy and the papers' equations, image by image."""

import numpy as np
import pytest
import torch
from scipy.signal import convolve2d, upfirdn
from torch.nn import functional as F

from gan_modules.functional.modulation import modulated_conv2d
from gan_modules.functional.upfirdn import BINOMIAL, blur, downsample, upsample

UNEVEN = (0.1, 0.4, 0.3, -0.2, 0.15, 0.25)  # tells a convolution from a correlation


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def by_scipy(x, taps, up=1, down=1):
    """Both axes, in full length."""
    return upfirdn(taps, upfirdn(taps, x.numpy(), up, down, axis=2), up, down, axis=3)


@pytest.mark.parametrize("taps", [BINOMIAL, UNEVEN])
def test_upsampling(taps):
    x = torch.randn(2, 3, 5, 8, dtype=torch.float64)
    cut = len(taps) // 2 - 1
    expected = by_scipy(x, 2 * np.array(taps), up=2)
    result = upsample(x, taps)
    assert result.shape == (2, 3, 10, 16)
    np.testing.assert_allclose(result, expected[:, :, cut : cut + 10, cut : cut + 16], atol=1e-12)


@pytest.mark.parametrize("taps", [BINOMIAL, UNEVEN])
def test_downsampling(taps):
    x = torch.randn(2, 3, 6, 8, dtype=torch.float64)
    padded = F.pad(x, [len(taps) // 2 - 1] * 4)
    full = by_scipy(padded, np.array(taps)[::-1])
    valid = full[:, :, len(taps) - 1 : padded.shape[2], len(taps) - 1 : padded.shape[3]]
    np.testing.assert_allclose(downsample(x, taps), valid[:, :, ::2, ::2], atol=1e-12)
    y = torch.randn(2, 3, 3, 4, dtype=torch.float64)
    assert (upsample(y, taps) * x).sum().item() == pytest.approx(4 * (y * downsample(x, taps)).sum().item())


@pytest.mark.parametrize(("taps", "padding"), [(BINOMIAL, 1), (BINOMIAL, 2), ((0.25, 0.5, 0.25), 1)])
def test_blur(taps, padding):
    x = torch.randn(2, 3, 6, 8, dtype=torch.float64)
    kernel = np.outer(taps, taps)
    expected = [[convolve2d(np.pad(c, padding), kernel, "valid") for c in image] for image in x.numpy()]
    np.testing.assert_allclose(blur(x, padding, taps), expected, atol=1e-12)


def test_a_constant_keeps_its_brightness():
    x = torch.ones(1, 1, 8, 8)
    for resampled in (upsample(x), downsample(x)):
        torch.testing.assert_close(resampled[..., 1:-1, 1:-1], torch.ones_like(resampled[..., 1:-1, 1:-1]))


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("demodulate", [False, True])
@pytest.mark.parametrize("up", [False, True])
def test_modulated_convolution_image_by_image(grouped, demodulate, up):
    """Eq. 1 and 3 as they stand; on the way up zeros between the pixels, the convolution, and the filter."""
    x, weight, styles = (torch.randn(shape, dtype=torch.float64) for shape in ((3, 4, 5, 5), (6, 4, 3, 3), (3, 4)))
    expected = []
    for image, style in zip(x.numpy(), styles.numpy(), strict=True):
        w = weight.numpy() * style[None, :, None, None]
        if demodulate:
            w = w / np.sqrt((w**2).sum((1, 2, 3), keepdims=True))
        if up:
            sparse = np.zeros((4, 10, 10))
            sparse[:, ::2, ::2] = image
            smooth = 4 * np.outer(BINOMIAL, BINOMIAL)
            maps = [sum(convolve2d(c, k) for c, k in zip(sparse, out, strict=True)) for out in w]
            maps = [convolve2d(m, smooth)[2:12, 2:12] for m in maps]
        else:
            maps = [sum(convolve2d(c, k[::-1, ::-1], "same") for c, k in zip(image, out, strict=True)) for out in w]
        expected.append(maps)
    result = modulated_conv2d(x, weight, styles, demodulate=demodulate, up=up, grouped=grouped, gain=1.5)
    np.testing.assert_allclose(result, 1.5 * np.array(expected), rtol=1e-6, atol=1e-6)  # the guard at 0 is 1e-8


def test_demodulation_takes_out_every_scale():
    x, weight, styles = torch.randn(2, 4, 5, 5), torch.randn(6, 4, 3, 3), torch.randn(2, 4)
    plain = modulated_conv2d(x, weight, styles)
    for grouped in (False, True):
        scaled = modulated_conv2d(x, 1e3 * weight, 1e4 * styles, grouped=grouped)
        torch.testing.assert_close(scaled, plain, rtol=1e-4, atol=1e-5)
        half = modulated_conv2d(x.half(), 1e3 * weight, 1e4 * styles, grouped=grouped)
        assert half.dtype == torch.float16
        torch.testing.assert_close(half.float(), plain, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("up", [False, True])
def test_gradients_reach_styles_weights_and_images_twice(grouped, up):
    x, weight, styles = (
        torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in ((2, 2, 3, 3), (2, 2, 3, 3), (2, 2))
    )

    def convolve(*inputs):
        return modulated_conv2d(*inputs, up=up, grouped=grouped)

    assert torch.autograd.gradcheck(convolve, (x, weight, styles))
    assert torch.autograd.gradgradcheck(convolve, (x, weight, styles))
