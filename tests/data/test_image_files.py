"""Reading single images: every mode against pixel values known beforehand."""

import os
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import functional as tv

from datamodules import DataError
from datamodules.image_files import ImageFiles, fit, list_images, read_image

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)


def pixels(path, channels):
    image = read_image(str(path), channels)
    assert image.mode == {1: "L", 3: "RGB", 4: "RGBA"}[channels]
    return np.asarray(image)


def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path):
    deep = (np.arange(256, dtype=np.uint16) * 257).reshape(16, 16)
    for name in ("deep.png", "deep.tif"):
        Image.fromarray(deep).save(tmp_path / name)
        assert np.array_equal(pixels(tmp_path / name, 1), RAMP)
        assert np.array_equal(pixels(tmp_path / name, 3), np.repeat(RAMP[..., None], 3, axis=2))


def test_sixteen_bit_grey_is_rounded_to_the_nearest(tmp_path):
    every = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    Image.fromarray(every).save(tmp_path / "every.png")
    nearest = np.floor(every.astype(np.float64) * 255 / 65535 + 0.5)
    assert np.array_equal(pixels(tmp_path / "every.png", 1), nearest)


def test_thirty_two_bit_grey_is_read_as_sixteen_or_refused(tmp_path):
    Image.fromarray(RAMP.astype(np.int32) * 257).save(tmp_path / "fits.tif")
    assert np.array_equal(pixels(tmp_path / "fits.tif", 1), RAMP)
    Image.fromarray(RAMP.astype(np.int32) * 70000).save(tmp_path / "exceeds.tif")
    with pytest.raises(DataError, match=r"exceeds\.tif .*0 to 65535"):
        read_image(str(tmp_path / "exceeds.tif"), 1)
    Image.fromarray(RAMP.astype(np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(DataError, match=r"float\.tif .*no known range"):
        read_image(str(tmp_path / "float.tif"), 1)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "gif"])
def test_eight_bit_grey_is_exact(tmp_path, suffix):
    path = tmp_path / f"grey.{suffix}"
    Image.fromarray(RAMP).save(path)
    assert np.array_equal(pixels(path, 1), RAMP)
    assert np.array_equal(pixels(path, 3), np.repeat(RAMP[..., None], 3, axis=2))
    assert (pixels(path, 4)[..., 3] == 255).all()


@pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
def test_transparency_lies_on_white(tmp_path, suffix):
    alpha = np.array([[0, 51, 128, 255]], np.uint8)
    colour = np.array([200, 100, 0])
    rgba = np.dstack([np.full((1, 4), c, np.uint8) for c in colour] + [alpha])
    path = tmp_path / f"glass.{suffix}"
    Image.fromarray(rgba).save(path, lossless=True, exact=True)
    share = alpha[..., None] / 255
    expected = share * colour + (1 - share) * 255
    assert np.abs(pixels(path, 3) - expected).max() <= 1
    assert np.array_equal(pixels(path, 4), rgba)
    luma = expected @ [0.299, 0.587, 0.114]
    assert np.abs(pixels(path, 1) - luma).max() <= 1


def test_palette_with_and_without_transparency(tmp_path):
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8)).convert("P")
    image.putdata([0, 1, 2])
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.save(tmp_path / "opaque.png")
    image.save(tmp_path / "glass.png", transparency=1)
    image.save(tmp_path / "glass.gif", transparency=1)
    red, green, blue, white = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
    assert [tuple(p) for p in pixels(tmp_path / "opaque.png", 3)[0]] == [red, green, blue]
    for name in ("glass.png", "glass.gif"):
        assert [tuple(p) for p in pixels(tmp_path / name, 3)[0]] == [red, white, blue]
        assert pixels(tmp_path / name, 4)[0, :, 3].tolist() == [255, 0, 255]


def test_grey_with_alpha_and_with_a_transparent_grey(tmp_path):
    Image.fromarray(np.dstack([RAMP, np.zeros_like(RAMP)])).save(tmp_path / "la.png")
    assert (pixels(tmp_path / "la.png", 1) == 255).all()
    Image.fromarray(RAMP).save(tmp_path / "key.png", transparency=7)
    expected = np.where(RAMP == 7, 255, RAMP)
    assert np.array_equal(pixels(tmp_path / "key.png", 1), expected)


def test_black_and_white_bits(tmp_path):
    Image.fromarray(RAMP > 100).save(tmp_path / "bits.png")
    assert np.array_equal(pixels(tmp_path / "bits.png", 1), np.where(RAMP > 100, 255, 0))


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_cmyk_becomes_rgb(tmp_path, suffix):
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / f"red.{suffix}")
    assert np.abs(pixels(tmp_path / f"red.{suffix}", 3).astype(int) - [255, 0, 0]).max() <= 2
    assert pixels(tmp_path / f"red.{suffix}", 4)[0, 0, 3] == 255


def test_gif_gives_its_first_frame(tmp_path):
    first, second = Image.new("RGB", (4, 4), "red"), Image.new("RGB", (4, 4), "blue")
    first.save(tmp_path / "film.gif", save_all=True, append_images=[second])
    assert (pixels(tmp_path / "film.gif", 3) == [255, 0, 0]).all()


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_exif_orientation_is_upright(tmp_path, orientation, turns):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = RAMP[:8]
    Image.fromarray(stored).save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(pixels(tmp_path / "turned.png", 1), np.rot90(stored, turns))


@pytest.mark.parametrize("broken", [b"", b"not an image", "half"])
def test_an_unreadable_image_is_named(tmp_path, broken):
    path = tmp_path / "broken.png"
    if broken == "half":
        Image.effect_noise((64, 64), 50).save(path)
        broken = path.read_bytes()[:1000]
    path.write_bytes(broken)
    with pytest.raises(DataError, match=r"Cannot read the image .*broken\.png .*repair or remove it\.$"):
        read_image(str(path), 3)


def test_centre_crop_and_resize_are_torchvisions():
    for width, height in ((178, 218), (300, 100), (64, 64), (40, 31)):
        image = Image.effect_noise((width, height), 80)
        side = min(width, height)
        theirs = tv.resize(tv.center_crop(image, [side, side]), [64, 64])
        assert np.array_equal(np.asarray(fit(image, (64, 64), "center")), np.asarray(theirs))


def test_windows_keep_proportions_and_stretch_does_not():
    columns = Image.fromarray(np.tile(np.arange(200, dtype=np.uint8), (50, 1)))  # 50 high, 200 wide
    centre = np.asarray(fit(columns, (50, 100), "center"))
    assert np.array_equal(centre, np.tile(np.arange(50, 150), (50, 1)))
    stretched = np.asarray(fit(columns, (50, 100), "stretch"))
    assert abs(int(stretched[0, 0]) - 0.5) <= 1
    assert abs(int(stretched[0, -1]) - 198.5) <= 1
    assert fit(columns, (1, 1000), "center").size == (1000, 1)


def test_random_windows_reach_both_ends_and_nothing_beyond():
    columns = Image.fromarray(np.tile(np.arange(20, dtype=np.uint8), (10, 1)))
    torch.manual_seed(0)
    windows = [np.asarray(fit(columns, (10, 10), "random")) for _ in range(300)]
    assert {int(window[0, 0]) for window in windows} == set(range(11))
    assert all((np.diff(window) == 1).all() for window in windows)


def test_flip_mirrors_about_half(tmp_path):
    Image.fromarray(RAMP).save(tmp_path / "ramp.png")
    dataset = ImageFiles([str(tmp_path / "ramp.png")], None, (16, 16), channels=1, flip=True)
    torch.manual_seed(0)
    (images,) = dataset.__getitems__([0] * 400)
    mirrored = (images[:, 0] == torch.from_numpy(RAMP[:, ::-1].copy())).all(dim=(1, 2))
    assert ((images[:, 0] == torch.from_numpy(RAMP)).all(dim=(1, 2)) ^ mirrored).all()
    assert 150 < int(mirrored.sum()) < 250  # five standard deviations of a fair coin


def test_listing_is_sorted_recursive_and_skips_what_is_hidden_or_no_image(tmp_path):
    wanted = ["a/2.PNG", "a/10.png", "b/c/deep.jpeg", "loose.webp"]
    unwanted = [".hidden.png", ".git/x.png", "a/._2.png", "a/notes.txt", "b/no_suffix"]
    for name in wanted + unwanted:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert list_images(str(tmp_path)) == sorted(wanted)


@pytest.mark.parametrize(
    ("name", "format", "off_by"),
    [
        ("a.jfif", "JPEG", 2),
        ("a.jpe", "JPEG", 2),
        ("a.mpo", "MPO", 2),
        ("a.avif", "AVIF", 8),
        ("a.ppm", "PPM", 0),
        ("a.pgm", "PPM", 0),
        ("a.jp2", "JPEG2000", 8),
        ("a.TGA", "TGA", 0),
        ("a.pcx", "PCX", 0),
        ("a.qoi", "QOI", 0),
        ("a.apng", "PNG", 0),
        ("no_suffix", "PNG", 0),
        ("scraped.jpg_large", "JPEG", 2),
        ("a.png?size=large", "PNG", 0),
        ("wrong.txt", "WEBP", 2),
    ],
)
def test_whatever_pillow_reads_is_an_image(tmp_path, name, format, off_by):
    if format not in Image.registered_extensions().values():
        pytest.skip("Pillow was built without it")
    smooth = RAMP // 4 + 90
    with open(tmp_path / name, "wb") as file:
        Image.fromarray(smooth).convert("RGB").save(file, format, quality=95)
    assert list_images(str(tmp_path)) == [name]
    assert np.abs(pixels(tmp_path / name, 1).astype(int) - smooth).max() <= off_by


def test_what_is_left_out_is_counted_and_named(tmp_path):
    for name in ["a.jpg", *(f"{i}.mp4" for i in range(9)), "page.pdf", "clip.mpg", "x.eps"]:
        (tmp_path / name).write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0")
    os.mkfifo(tmp_path / "pipe")
    with pytest.warns(UserWarning, match=r"13 files are left out.*: 0\.mp4, 1\.mp4, 2\.mp4, 3\.mp4, 4\.mp4, …"):
        assert list_images(str(tmp_path)) == ["a.jpg"]


def test_nothing_is_said_where_nothing_is_left_out(tmp_path):
    (tmp_path / "a.jpg").touch()
    (tmp_path / ".DS_Store").touch()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list_images(str(tmp_path)) == ["a.jpg"]


def test_postscript_in_disguise_starts_no_interpreter(tmp_path, monkeypatch):
    trap = tmp_path / "gs"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\n")
    trap.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    (tmp_path / "x.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n")
    with pytest.raises(DataError, match=r"x\.png"):
        read_image(str(tmp_path / "x.png"), 3)
    assert not (tmp_path / "sprung").exists()
