"""Audio as a picture: a waveform and a spectrogram a row."""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from gan_modules.functional.pixels import to_uint8
from gan_modules.visuals.pictures import BLUE, GREY, as_image, as_tensor
from gan_modules.visuals.sheets import LINE, write

WIDTH, HEIGHT = 384, 96  # of a waveform and of a spectrogram, in pixels
GAP = 8  # between them, and between rows, in pixels
WINDOW = 512  # samples of a spectrogram's window
FLOOR = -80.0  # the level that is drawn black, in decibels of a sine of amplitude 1
PALE = (0.6, 0.7, 0.95)
HEAT = ((0, 0, 4), (81, 18, 124), (183, 55, 121), (252, 137, 97), (252, 253, 191))  # from silent to loud


def audio_rows(audio: Tensor, sample_rate: int | None = None) -> Tensor:
    """Draw audio ``(N, C, T)`` in [-1, 1] as an RGB picture, a row each; channels are averaged.

    On the left is the waveform: its range in each column pale, its root mean square dark. On the right is the
    spectrogram, high frequencies at the top, from -80 dB (black) to 0 dB, the level of a sine of amplitude 1.

    Args:
        audio: The audio.
        sample_rate: Samples a second, for the words above the columns; without it they count samples.
    """
    waves = audio.float().cpu().mean(dim=1)
    width, height = 2 * WIDTH + 3 * GAP, LINE + GAP + len(waves) * (HEIGHT + GAP)
    canvas = Image.new("RGB", (width, height), "white")
    for row, wave in enumerate(waves):
        top = LINE + GAP + row * (HEIGHT + GAP)
        canvas.paste(as_image(draw_waveform(wave)), (GAP, top))
        canvas.paste(as_image(draw_spectrogram(wave)), (WIDTH + 2 * GAP, top))
    length = waves.shape[1]
    time, top_frequency = f"{length:,} samples", "half the sample rate"
    if sample_rate:
        time, top_frequency = f"{length / sample_rate:.3g} s", f"{sample_rate / 2000:g} kHz"
    write(canvas, (GAP, GAP // 2), f"waveform, {time}")
    write(canvas, (WIDTH + 2 * GAP, GAP // 2), f"spectrogram, 0 to {top_frequency}, {FLOOR:g} to 0 dB")
    return as_tensor(canvas)


def draw_waveform(wave: Tensor) -> Tensor:
    """Draw a waveform ``(T,)`` in [-1, 1] as a picture ``(3, HEIGHT, WIDTH)``, 1 at the top edge."""
    wave = _smooth(wave)[None]
    high, low = F.adaptive_max_pool1d(wave, WIDTH), -F.adaptive_max_pool1d(-wave, WIDTH)
    level = F.adaptive_avg_pool1d(wave.square(), WIDTH).sqrt()
    canvas = torch.ones(3, HEIGHT, WIDTH)
    zero = torch.zeros_like(level)
    for colour, top, bottom in ((GREY, zero, zero), (PALE, high, low), (BLUE, level.min(high), (-level).max(low))):
        canvas += _band(top, bottom) * (torch.tensor(colour).view(3, 1, 1) - canvas)
    return to_uint8(canvas * 2 - 1)


def draw_spectrogram(wave: Tensor) -> Tensor:
    """Draw the log-magnitude spectrogram of a waveform ``(T,)`` as a picture ``(3, HEIGHT, WIDTH)``."""
    size = min(WINDOW, len(wave))
    window = torch.hann_window(size)
    hop = max(1, len(wave) // WIDTH)
    bins = torch.stft(wave, size, hop, window=window, pad_mode="constant", return_complex=True).abs()
    decibels = 20 * torch.log10((2 * bins / window.sum()).clamp(min=1e-9))
    cells = F.adaptive_max_pool2d(decibels[None], (HEIGHT, WIDTH))[0].flip(0)  # maxima, so that no line is lost
    return to_uint8(_heat((1 - cells / FLOOR).clamp(0, 1)) / 127.5 - 1)


def _smooth(wave: Tensor) -> Tensor:
    """Draw lines between the samples where there are fewer than columns."""
    if len(wave) >= WIDTH:
        return wave
    return F.interpolate(wave[None, None], 8 * WIDTH, mode="linear", align_corners=True)[0, 0]


def _band(top: Tensor, bottom: Tensor) -> Tensor:
    """Return how much of each pixel lies between two curves ``(1, WIDTH)`` in [-1, 1], one pixel at least."""
    row = torch.arange(HEIGHT)[:, None]
    first, last = ((1 - curve.clamp(-1, 1)) / 2 * (HEIGHT - 1) for curve in (top, bottom))
    return (torch.minimum(last + 1, row + 1) - torch.maximum(first, row)).clamp(0, 1)


def _heat(values: Tensor) -> Tensor:
    """Return colours ``(3, …)`` in [0, 255] of values in [0, 1]."""
    place = values * (len(HEAT) - 1)
    index = place.long().clamp(max=len(HEAT) - 2)
    colours = torch.tensor(HEAT, dtype=torch.float32)
    return torch.lerp(colours[index], colours[index + 1], (place - index)[..., None]).movedim(-1, 0)
