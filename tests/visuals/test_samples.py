"""Pictures of samples of each kind, read back by hand."""

import math

import numpy as np
import pytest
import torch
from torchvision.utils import make_grid

from gan_modules.errors import GANError
from gan_modules.visuals import audio, captions, video
from gan_modules.visuals.pictures import image_grid, scatter
from gan_modules.visuals.samples import draw_samples


def noise(*shape):
    """Samples whose pixels are whole numbers."""
    return torch.randint(256, shape, generator=torch.Generator().manual_seed(0)) / 127.5 - 1


def pixels(images):
    return torch.from_numpy(np.rint((images.double().numpy() + 1) * 127.5).astype(np.uint8))


def cells(picture, row):
    """The waveform and the spectrogram of a row, (H, W, 3)."""
    top = audio.LINE + audio.GAP + row * (audio.HEIGHT + audio.GAP)
    rows = picture.permute(1, 2, 0).numpy()[top : top + audio.HEIGHT].astype(int)
    return rows[:, audio.GAP :][:, : audio.WIDTH], rows[:, 2 * audio.GAP + audio.WIDTH :][:, : audio.WIDTH]


def test_images_and_points_are_drawn_as_ever():
    images, points, reals = noise(6, 3, 16, 16), torch.randn(50, 2), torch.randn(80, 2)
    doubled = pixels(images).repeat_interleave(2, -1).repeat_interleave(2, -2)
    assert torch.equal(draw_samples(images, "image", nrow=2), make_grid(doubled, nrow=2, pad_value=255))
    assert torch.equal(draw_samples(images, "image"), image_grid(images))
    assert torch.equal(draw_samples(points, "point", reals=reals), scatter(points, reals))
    assert torch.equal(draw_samples(points, "point"), scatter(points, points))


def test_a_waveform_spans_what_numpy_says():
    generator = torch.Generator().manual_seed(0)
    envelope = torch.linspace(0.1, 0.9, 5000).sin()
    waves = (torch.rand(2, 1, 5000, generator=generator) * 2 - 1) * envelope
    picture = draw_samples(waves, "audio")
    for row, wave in enumerate(waves[:, 0].numpy()):
        drawn, _ = cells(picture, row)
        blue = drawn.max(2) - drawn.min(2) > 40
        for column in range(audio.WIDTH):
            first = math.floor(column * 5000 / audio.WIDTH)
            last = math.ceil((column + 1) * 5000 / audio.WIDTH)
            inked = np.flatnonzero(blue[:, column])
            assert (inked == np.arange(inked[0], inked[-1] + 1)).all()
            for place, value in ((inked[0], wave[first:last].max()), (inked[-1], wave[first:last].min())):
                assert abs(place - (1 - value) / 2 * (audio.HEIGHT - 1)) < 1.5


def test_a_waveform_of_few_samples_is_one_line():
    wave = torch.tensor([[[-1.0, 1.0, 0.0]]])
    drawn, _ = cells(draw_samples(wave, "audio"), 0)
    blue = drawn.max(2) - drawn.min(2) > 40
    middle, right = audio.WIDTH // 2, audio.WIDTH - 1
    assert blue[-1, 0]
    assert blue[:2, middle - 1 : middle + 1].any()
    assert blue[audio.HEIGHT // 2 - 1 : audio.HEIGHT // 2 + 1, right].any()
    assert (blue.sum(0) >= 1).all()


@pytest.mark.parametrize("frequency", [437.5, 2000.0, 6500.0])
@pytest.mark.parametrize("length", [3000, 16000])
def test_a_sine_is_a_line_at_its_frequency_and_level(frequency, length):
    time = torch.arange(length) / 16_000
    tones = torch.stack([level * torch.sin(2 * math.pi * frequency * time) for level in (1.0, 0.1)])
    stereo = torch.stack([tones, tones], dim=1)
    picture = draw_samples(stereo, "audio", sample_rate=16_000)
    light = []
    for row in range(2):
        _, drawn = cells(picture, row)
        inner = drawn[:, 60:-60].sum(2)
        peak = inner.mean(1).argmax()
        centre = (1 - frequency / 8000) * audio.HEIGHT  # of the row, from above
        assert abs(peak + 0.5 - centre) <= 1.5
        assert inner.max(1)[[row for row in range(audio.HEIGHT) if abs(row - peak) > 4]].max() < 0.5 * inner[peak].min()
        light.append(drawn[peak, audio.WIDTH // 2])
    stops = np.array(audio.HEAT, dtype=float)
    for colour, level in zip(light, (0, -20), strict=True):
        places = np.linspace(-80, 0, len(stops))
        expected = [np.interp(level, places, channel) for channel in stops.T]
        assert np.abs(colour - expected).max() < 16  # 1.4 dB: a tone between two bins


def test_silence_is_black():
    _, drawn = cells(draw_samples(torch.zeros(1, 1, 4000), "audio"), 0)
    assert (drawn == audio.HEAT[0]).all()


@pytest.mark.parametrize(("length", "chosen"), [(15, [0, 2, 4, 6, 8, 10, 12, 14]), (3, [0, 1, 2]), (8, range(8))])
def test_a_film_strip_shows_frames_from_first_to_last(length, chosen):
    clips = noise(2, 3, length, 32, 32)
    picture = draw_samples(clips, "video")
    gap, side = video.GAP, 64
    for row in range(2):
        for column, frame in enumerate(chosen):
            y = gap + row * (side + 4 + gap) + 2
            x = gap + 2 + column * (side + 2)
            shown = picture[:, y : y + side, x : x + side]
            assert torch.equal(shown[:, ::2, ::2], pixels(clips[row, :, frame]))
    assert picture.shape == (3, gap + 2 * (side + 4 + gap), 2 * gap + len(chosen) * (side + 2) + 2)


def test_captions_stand_beneath_their_images():
    images = noise(3, 3, 64, 64)
    words = ["a small bird", "", "one of very many birds that sit on a branch of a tree in a garden near a river"]
    picture = draw_samples(images, "image", captions=words, nrow=2)
    gap, strip = captions.GAP, captions.LINES * captions.LINE
    inks = []
    for index, image in enumerate(images):
        y, x = gap + index // 2 * (128 + strip + gap), gap + index % 2 * (128 + gap)
        assert torch.equal(picture[:, y : y + 128 : 2, x : x + 128 : 2], pixels(image))
        inks.append((picture[0, y + 128 : y + 128 + strip, x : x + 128] < 128).sum(dim=1))
        assert (picture[:, y : y + 128 + strip, x + 128 : x + 128 + gap] == 255).all()  # no word beyond its image
    lines = [[int(half.sum()) for half in ink.chunk(2)] for ink in inks]
    assert lines[0][0] > 40
    assert lines[0][1] < 10  # but for a letter that reaches below
    assert lines[1] == [0, 0]
    assert min(lines[2]) > 100


def test_captions_are_decoded_where_the_data_can():
    class Data:
        def decode_captions(self, tokens):
            return ["".join(chr(96 + token) for token in row if token) for row in tokens.tolist()]

    tokens = torch.tensor([[3, 1, 20, 0], [4, 15, 7, 0]])
    assert captions.words_of(Data(), tokens) == ["cat", "dog"]
    assert captions.words_of(None, tokens) == ["3 1 20 0", "4 15 7 0"]


def test_points_in_space_have_no_picture():
    with pytest.raises(GANError, match=r"points in the plane, and these have point_shape=\(3,\): save them as .npy"):
        draw_samples(torch.zeros(4, 3), "point")
