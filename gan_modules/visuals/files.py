"""Samples as files, in the format of their kind."""

from __future__ import annotations

import wave
from collections.abc import Callable, Iterable
from itertools import count
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gan_modules.families.data_spec import Kind
from gan_modules.functional.pixels import to_uint8
from gan_modules.visuals.movies import save_movie
from gan_modules.visuals.pictures import as_image, visible

SAMPLE_RATE = 16_000  # samples of audio a second, where nobody knows better
FPS = 8  # frames of a clip a second
PNG_CHANNELS = 4  # the most that a PNG holds


def save_samples(
    samples: Iterable[Tensor],
    folder: str | Path,
    kind: Kind,
    *,
    names: Iterable[str] | None = None,
    sample_rate: int = SAMPLE_RATE,
    fps: int = FPS,
) -> None:
    """Write a file per sample: images as PNG, audio as WAV, clips as GIF; all points together as ``samples.npy``.

    Images of more channels than PNG holds are written as ``.npy`` ``(C, H, W)`` in [-1, 1].

    Args:
        samples: Samples of one shape, in [-1, 1] (points anywhere): a batch ``(N, …)``, or one after the other.
        folder: Where to; made where missing.
        kind: Their kind.
        names: The files' names without a suffix; by default 000000, 000001, ….
        sample_rate: Samples of audio a second.
        fps: Frames of a clip a second, 1 to 100.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write: dict[Kind, Callable[[Tensor, Path], None]] = {
        "image": save_image,
        "audio": lambda sample, path: save_wav(sample, path.with_name(f"{path.name}.wav"), sample_rate),
        "video": lambda sample, path: save_clip(sample, path.with_name(f"{path.name}.gif"), fps),
    }
    if kind not in write:
        np.save(folder / "samples.npy", torch.stack(list(samples)).cpu().numpy())
        return
    for sample, name in zip(samples, names or map("{:06d}".format, count()), strict=names is not None):
        write[kind](sample, folder / name)


def save_image(image: Tensor, path: Path) -> None:
    """Write an image ``(C, H, W)`` in [-1, 1] to a path without a suffix, as PNG or, of many channels, as ``.npy``."""
    if len(image) > PNG_CHANNELS:
        np.save(path.with_name(f"{path.name}.npy"), image.cpu().numpy())
    else:
        as_image(to_uint8(image)).save(path.with_name(f"{path.name}.png"))


def save_wav(audio: Tensor, path: str | Path, sample_rate: int = SAMPLE_RATE) -> None:
    """Write audio ``(C, T)`` in [-1, 1] as 16-bit WAV; what is louder is cut."""
    steps = (audio.float() * 2**15).round().clamp(-(2**15), 2**15 - 1).to(torch.int16)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(len(audio))
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(steps.T.contiguous().cpu().numpy().astype("<i2").tobytes())


def save_clip(clip: Tensor, path: str | Path, fps: int = FPS) -> None:
    """Write a clip ``(C, T, H, W)`` in [-1, 1] as a movie in .gif or .mp4; see `save_movie`."""
    save_movie(visible(clip.transpose(0, 1)), path, fps)
