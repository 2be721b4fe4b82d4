"""A picture of samples of any kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from gan_modules.errors import GANError
from gan_modules.families.data_spec import Kind
from gan_modules.visuals.audio import audio_rows
from gan_modules.visuals.captions import captioned_grid
from gan_modules.visuals.pictures import image_grid, scatter
from gan_modules.visuals.video import film_strips


def draw_samples(
    samples: Tensor,
    kind: Kind,
    *,
    reals: Tensor | None = None,
    nrow: int | None = None,
    captions: Sequence[str] | None = None,
    sample_rate: int | None = None,
) -> Tensor:
    """Draw samples ``(N, …)`` as an RGB picture ``(3, H, W)`` uint8.

    Images make a grid, points a scatter, audio a waveform and a spectrogram a row, clips a film strip a row.

    Args:
        samples: The samples, in [-1, 1] (points anywhere).
        kind: Their kind.
        reals: Points ``(M, 2)`` behind the samples, which frame the scatter; by default the samples themselves.
        nrow: Images in a row; by default as many as make a square.
        captions: What stands beneath each image.
        sample_rate: Samples of audio a second.

    Raises:
        GANError: See `check_drawable`.
    """
    check_drawable(kind, tuple(samples.shape[1:]), "A picture", "save them as .npy")
    draw: dict[Kind, Callable[[], Tensor]] = {
        "image": lambda: image_grid(samples, nrow) if captions is None else captioned_grid(samples, captions, nrow),
        "point": lambda: scatter(samples, samples if reals is None else reals),
        "audio": lambda: audio_rows(samples, sample_rate),
        "video": lambda: film_strips(samples),
    }
    return draw[kind]()


def check_drawable(kind: Kind, shape: tuple[int, ...], asker: str, remedy: str = "leave it out") -> None:
    """Refuse samples of which there is no picture.

    Args:
        kind: The samples' kind.
        shape: The shape of one.
        asker: Who would show them, for the message.
        remedy: What to do instead, for the message.

    Raises:
        GANError: If they are points elsewhere than in the plane.
    """
    if kind == "point" and shape != (2,):
        raise GANError(f"{asker} shows points in the plane, and these have point_shape={shape}: {remedy}.")
