"""The one door from images to pixels looks at dtype and range."""

import pytest
import torch

from gan_modules.errors import GANError
from gan_modules.functional.pixels import to_uint8

PIXELS = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
INTEGERS = [torch.int16, torch.int32, torch.int64, torch.uint16, torch.uint32, torch.uint64]


@pytest.mark.parametrize("dtype", [torch.uint8, *INTEGERS])
def test_integers_of_any_width_are_pixels(dtype):
    assert torch.equal(to_uint8(PIXELS.to(dtype)), PIXELS)


def test_small_integers_of_eight_bits_are_pixels():
    assert torch.equal(to_uint8((PIXELS // 2).to(torch.int8)), PIXELS // 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_floats_come_back_exactly(dtype):
    assert torch.equal(to_uint8(PIXELS.to(dtype) / 127.5 - 1), PIXELS)


def test_bools_are_black_and_white():
    assert to_uint8(torch.tensor([True, False])).tolist() == [255, 0]


def test_what_a_network_makes_beyond_the_range_is_clamped():
    assert to_uint8(torch.tensor([-3.0, 2.5, 0.0])).tolist() == [0, 255, 128]
    assert to_uint8(torch.tensor([0.0, 2.5])).tolist() == [128, 255]
    assert to_uint8(torch.zeros(0, 1, 2, 2)).shape == (0, 1, 2, 2)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (torch.tensor([0, 256]), "from 0 to 256"),
        (torch.tensor([-1, 5], dtype=torch.int16), "from -1 to 5"),
        (torch.tensor([0, 40000], dtype=torch.int32), "scale them to uint8"),
        (PIXELS.float(), "x / 127.5 - 1"),
        (PIXELS.half(), "from 0 to 255"),
    ],
)
def test_what_is_no_image_is_named(images, words):
    with pytest.raises(GANError, match=words):
        to_uint8(images)
