"""Pictures in motion: GIF by Pillow, MP4 by PyAV."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from gan_modules.errors import GANError
from gan_modules.visuals.pictures import as_image, image_grid, visible

CELL = 128  # the least height and width of an image among those that move side by side, in pixels
QUALITY = "18"  # x264's constant rate factor, at which a loss is hardly visible


def check_movie(path: Path, fps: int) -> None:
    """Refuse a movie that `save_movie` could not write, before its pictures are made.

    Raises:
        GANError: If the suffix is neither .gif nor .mp4, PyAV is missing, or there are no pictures a second.
    """
    if path.suffix.lower() not in (".gif", ".mp4"):
        raise GANError(f"'{path}' is no name for a movie: let it end in .gif or .mp4.")
    if path.suffix.lower() == ".mp4" and find_spec("av") is None:
        raise GANError("Writing MP4 needs PyAV: pip install 'gan-modules[video]', or let the name end in .gif.")
    check_fps(fps)


def check_fps(fps: int) -> None:
    """Refuse a number of pictures a second that a GIF cannot count.

    Raises:
        GANError: If it is below 1 or above 100.
    """
    if not 1 <= fps <= 100:
        raise GANError(f"fps={fps} must be from 1 to 100: it is the pictures a second.")


def save_movie(frames: Iterable[Tensor], path: str | Path, fps: int = 25) -> None:
    """Write pictures one after the other, as they come: those of `interpolate`, for example.

    A GIF repeats for ever and has 256 colours a picture; it counts in hundredths of a second, to which the duration
    of a picture is rounded. An MP4 is H.264, of even height and width (a last row or column is doubled).

    Args:
        frames: Pictures of one size: ``(C, H, W)`` for one image, grey or RGB, or ``(N, C, H, W)`` for N side by side,
            small ones enlarged; uint8, or floats in [-1, 1].
        path: Where to; a name in .gif or .mp4.
        fps: Pictures a second, 1 to 100.

    Raises:
        GANError: See `check_movie`; or if there is no frame, or one is no such picture. No file is left then.
    """
    path = Path(path)
    check_movie(path, fps)
    pictures = _pictures(frames)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() == ".mp4":
        try:
            return _save_mp4(pictures, path, fps)
        except GANError:
            path.unlink(missing_ok=True)
            raise
    first, *rest = (_in_256_colours(as_image(picture)) for picture in pictures)
    first.save(path, save_all=True, append_images=rest, duration=10 * round(100 / fps), loop=0)
    return None


def _pictures(frames: Iterable[Tensor]) -> Iterator[Tensor]:
    """Yield frames as pictures uint8 ``(C, H, W)`` of one size, grey or RGB."""
    first: torch.Size | None = None
    for frame in frames:
        if not isinstance(frame, Tensor) or frame.ndim not in (3, 4) or 0 in frame.shape:
            found = f"of shape {tuple(frame.shape)}" if isinstance(frame, Tensor) else f"a {type(frame).__name__}"
            raise GANError(
                f"A frame is a tensor (C, H, W), or (N, C, H, W) of images side by side, and one is {found}."
            )
        if frame.dtype != torch.uint8 and not frame.is_floating_point():
            raise GANError(f"A frame holds {frame.dtype}: convert it to uint8, or to floats in [-1, 1].")
        frame = frame.detach()
        picture = visible(frame[None])[0] if frame.ndim == 3 else _side_by_side(frame)
        first = first or picture.shape
        if picture.shape != first:
            raise GANError(f"A movie's frames have one shape, and after {tuple(first)} comes {tuple(picture.shape)}.")
        yield picture
    if first is None:
        raise GANError("There are no frames: a movie needs at least one.")


def _side_by_side(images: Tensor) -> Tensor:
    grey = slice(1 if images.shape[1] in (1, 2) else 3)  # a grey GIF keeps all its greys
    return image_grid(images, cell=CELL)[grey]


def _in_256_colours(image: Image.Image) -> Image.Image:
    return image if image.mode == "L" else image.quantize(256)


def _save_mp4(frames: Iterable[Tensor], path: Path, fps: int) -> None:
    import av
    from av.video.reformatter import Colorspace

    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=fps, options={"crf": QUALITY})
        stream.pix_fmt = "yuv420p"  # the one kind that all players know
        stream.codec_context.colorspace = Colorspace.ITU709  # said, since players guess by size
        for index, frame in enumerate(frames):
            height, width = frame.shape[-2:]
            even = F.pad(frame[None].float(), (0, width % 2, 0, height % 2), mode="replicate")[0].to(frame.dtype)
            if index == 0:
                stream.height, stream.width = even.shape[-2:]
            pixels = even.expand(3, -1, -1).permute(1, 2, 0).contiguous().cpu().numpy()
            picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            file.mux(stream.encode(picture.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709)))
        file.mux(stream.encode())
