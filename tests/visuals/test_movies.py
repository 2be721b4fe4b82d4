"""Movies, decoded again by the libraries that play them."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from gan_modules import DCGAN, GANError
from gan_modules.tools import interpolate
from gan_modules.visuals.movies import save_movie

av = pytest.importorskip("av")


@pytest.fixture
def dcgan():
    torch.manual_seed(0)
    return DCGAN((1, 16, 16), latent_dim=5, base_channels=2)


def pictures(channels, height=24, width=31):
    """Smooth pictures that differ from frame to frame, few colours in each."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    planes = [(4 * (y + x)) % 256, (7 * y) % 256, torch.full_like(x, 60)]
    return [torch.stack([plane.roll(3 * t, -1) for plane in planes[:channels]]).to(torch.uint8) for t in range(7)]


def test_a_grey_gif_keeps_every_pixel(tmp_path):
    frames = pictures(1)
    save_movie(iter(frames), tmp_path / "deep" / "movie.gif", fps=20)
    with Image.open(tmp_path / "deep" / "movie.gif") as movie:
        assert movie.info["loop"] == 0
        decoded = [(np.asarray(frame.convert("L")), frame.info["duration"]) for frame in ImageSequence.Iterator(movie)]
    assert [duration for _, duration in decoded] == [50] * 7
    for frame, (greys, _) in zip(frames, decoded, strict=True):
        assert (greys == frame[0].numpy()).all()


def test_a_gif_in_colour_is_near(tmp_path):
    frames = pictures(3)
    save_movie(frames, tmp_path / "movie.GIF", fps=30)
    with Image.open(tmp_path / "movie.GIF") as movie:
        decoded = [np.asarray(frame.convert("RGB")).astype(int) for frame in ImageSequence.Iterator(movie)]
    for frame, colours in zip(frames, decoded, strict=True):
        assert np.abs(colours - frame.permute(1, 2, 0).numpy()).mean() < 6


def test_pictures_that_stand_still_keep_their_time(tmp_path):
    save_movie([pictures(1)[0]] * 5, tmp_path / "still.gif", fps=10)
    with Image.open(tmp_path / "still.gif") as movie:
        assert sum(frame.info["duration"] for frame in ImageSequence.Iterator(movie)) == 500


@pytest.mark.parametrize("channels", [1, 3])
def test_an_mp4_is_near_and_even(channels, tmp_path):
    y, x = torch.meshgrid(torch.arange(63), torch.arange(48), indexing="ij")
    planes = [2 * y + 2 * x, 200 - 2 * x, 40 + 2 * (x - y).abs()]
    frames = [torch.stack(planes[:channels]).roll(4 * t, -1).clamp(0, 255).to(torch.uint8) for t in range(9)]
    save_movie(frames, tmp_path / "movie.mp4", fps=30)
    with av.open(str(tmp_path / "movie.mp4")) as movie:
        assert movie.streams.video[0].average_rate == 30
        decoded = [frame.to_ndarray(format="rgb24").astype(int) for frame in movie.decode(video=0)]
    assert decoded[0].shape == (64, 48, 3)
    for frame, colours in zip(frames, decoded, strict=True):
        expected = frame.expand(3, -1, -1).permute(1, 2, 0).numpy()
        assert np.abs(colours[:63] - expected).mean() < 4
    assert np.abs(decoded[0] - decoded[8])[:63].mean() > 8  # so a frame out of order would have been seen


@pytest.mark.parametrize(
    ("name", "fps", "sentence"),
    [
        ("movie.avi", 25, r"'.*movie.avi' is no name for a movie: let it end in .gif or .mp4"),
        ("movie", 25, "is no name for a movie"),
        ("movie.gif", 0, "fps=0 must be from 1 to 100"),
        ("movie.mp4", 101, "fps=101 must be from 1 to 100"),
    ],
)
def test_what_cannot_be_written(name, fps, sentence, tmp_path):
    with pytest.raises(GANError, match=sentence):
        save_movie([], tmp_path / name, fps)
    assert not list(tmp_path.iterdir())


def test_mp4_without_its_library(tmp_path, monkeypatch):
    monkeypatch.setattr("gan_modules.visuals.movies.find_spec", lambda name: None)
    with pytest.raises(GANError, match=r"pip install 'gan-modules\[video\]', or let the name end in .gif"):
        save_movie(pictures(1), tmp_path / "movie.mp4")
    save_movie(pictures(1), tmp_path / "movie.gif")


def test_images_in_minus_one_to_one_are_those_of_their_pixels(tmp_path):
    frames = pictures(1)
    floats = [frame.float() / 127.5 - 1 for frame in frames]
    for name, movie in [("a", frames), ("b", floats), ("c", torch.stack(floats).double()), ("d", iter(floats))]:
        save_movie(movie, tmp_path / f"{name}.gif")
    written = {(tmp_path / f"{name}.gif").read_bytes() for name in "abcd"}
    assert len(written) == 1


@pytest.mark.parametrize("suffix", ["gif", "mp4"])
def test_what_interpolate_yields_is_a_movie(suffix, tmp_path, dcgan):
    frames = list(interpolate(dcgan, [0, 1, 2, 3], cells=2, steps=2))
    save_movie(interpolate(dcgan, [0, 1, 2, 3], cells=2, steps=2), tmp_path / f"movie.{suffix}")
    with av.open(str(tmp_path / f"movie.{suffix}")) as movie:
        decoded = [frame.to_ndarray(format="gray").astype(int) for frame in movie.decode(video=0)]
    assert len(decoded) == 4
    for frame, images in zip(decoded, frames, strict=True):
        for cell, image in enumerate(images):  # 16 pixels, each eight times, two between
            left = 2 + cell * 130
            shown = frame[2:130, left : left + 128].reshape(16, 8, 16, 8)[:, 2:6, :, 2:6].mean(axis=(1, 3))
            assert np.abs(shown - (image[0].numpy() + 1) * 127.5).mean() < 6


@pytest.mark.parametrize("suffix", ["gif", "mp4"])
@pytest.mark.parametrize(
    ("frames", "sentence"),
    [
        ([], "There are no frames"),
        ([torch.zeros(8, 8)], r"one is of shape \(8, 8\)"),
        ([torch.zeros(1, 3, 2, 8, 8)], r"one is of shape \(1, 3, 2, 8, 8\)"),
        ([torch.zeros(0, 1, 8, 8)], r"one is of shape \(0, 1, 8, 8\)"),
        ([np.zeros((1, 8, 8))], "one is a ndarray"),
        ([torch.zeros(1, 8, 8, dtype=torch.int64)], "A frame holds torch.int64: convert it to uint8, or to floats"),
        ([torch.zeros(1, 8, 8), torch.zeros(1, 8, 9)], r"after \(1, 8, 8\) comes \(1, 8, 9\)"),
        ([torch.zeros(1, 8, 8), torch.zeros(3, 8, 8)], r"after \(1, 8, 8\) comes \(3, 8, 8\)"),
    ],
)
def test_what_is_no_movie(frames, sentence, suffix, tmp_path):
    with pytest.raises(GANError, match=sentence):
        save_movie(frames, tmp_path / f"movie.{suffix}")
    assert not list(tmp_path.iterdir())
