"""Files of samples, read back by the libraries that know their formats."""

import wave

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from gan_modules.visuals import save_samples


def drawn(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (2, "LA"), (3, "RGB"), (4, "RGBA")])
def test_images_as_png(channels, mode, tmp_path):
    images = drawn(3, channels, 5, 7)
    save_samples(images, tmp_path / "deep" / "folder", "image")
    folder = tmp_path / "deep" / "folder"
    assert names(folder) == ["000000.png", "000001.png", "000002.png"]
    for image, name in zip(images.numpy(), names(folder), strict=True):
        with Image.open(folder / name) as file:
            assert file.mode == mode
            values = np.asarray(file).reshape(5, 7, channels).transpose(2, 0, 1)
        assert np.abs(values - (image + 1) * 127.5).max() < 0.51


def test_images_of_more_channels_than_png_holds(tmp_path):
    images = drawn(2, 13, 5, 7)
    save_samples(images, tmp_path, "image", names=["a.1", "b.1"])
    assert names(tmp_path) == ["a.1.npy", "b.1.npy"]
    assert (np.load(tmp_path / "b.1.npy") == images[1].numpy()).all()


def test_points_as_one_array(tmp_path):
    points = torch.randn(70, 3)
    save_samples(iter(points), tmp_path, "point", names=map(str, range(70)))
    assert names(tmp_path) == ["samples.npy"]
    assert (np.load(tmp_path / "samples.npy") == points.numpy()).all()


@pytest.mark.parametrize("channels", [1, 2])
def test_audio_as_wav(channels, tmp_path):
    audio = 1.2 * drawn(2, channels, 999)
    save_samples(audio, tmp_path, "audio", sample_rate=22_050, names=["seed000003", "seed000004"])
    assert names(tmp_path) == ["seed000003.wav", "seed000004.wav"]
    for sample, name in zip(audio.numpy(), names(tmp_path), strict=True):
        with wave.open(str(tmp_path / name)) as file:
            assert file.getparams()[:4] == (channels, 2, 22_050, 999)
            values = np.frombuffer(file.readframes(999), "<i2").reshape(999, channels).T / 2**15
        assert np.abs(values - np.clip(sample, -1, 1)).max() <= 1 / 2**15


@pytest.mark.parametrize("channels", [1, 3])
def test_clips_as_gif(channels, tmp_path):
    y, x = torch.meshgrid(torch.arange(12), torch.arange(9), indexing="ij")
    planes = [(20 * y + 3 * x) % 256, (9 * y) % 256, torch.full_like(x, 60)]
    bytes_ = torch.stack([torch.stack(planes[:channels]).roll(t, -1) for t in range(5)], dim=1)
    clip = bytes_ / 127.5 - 1
    save_samples(clip[None], tmp_path, "video", fps=10)
    with Image.open(tmp_path / "000000.gif") as movie:
        frames = [np.asarray(frame.convert("RGB")).astype(int) for frame in ImageSequence.Iterator(movie)]
        assert movie.info["duration"] == 100
    assert len(frames) == 5
    for time, frame in enumerate(frames):
        error = np.abs(frame - bytes_[:, time].permute(1, 2, 0).expand(-1, -1, 3).numpy())
        assert error.max() == 0 if channels == 1 else error.mean() < 6
