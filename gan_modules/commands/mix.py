"""``gan-modules mix``: styles of some images with styles of others, by a checkpoint of the style line."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from gan_modules.commands.checkpoint import load_model
from gan_modules.commands.numbers import Numbers, parse_numbers
from gan_modules.commands.outputs import check_file
from gan_modules.errors import GANError
from gan_modules.families.capabilities import HasStyles, require
from gan_modules.tools import mix as mixture


def mix(
    ckpt_path: Path,
    rows: Numbers = "0-3",
    columns: Numbers = "4-8",
    styles: list[str | int] = ["0-3"],  # noqa: B006  # the parser shows the default
    out: Path = Path("mix.png"),
    labels: int | str | None = None,
    truncation: float = 1.0,
    ema: bool = True,
    device: str = "cpu",
) -> None:
    """Draw a sheet in which each column's image gives each row's image some of its styles.

    Args:
        ckpt_path: The checkpoint; it names its own class.
        rows: Seeds of the images that keep their other styles, as 0-3 or 1,5,8-11.
        columns: Seeds of the images that give the styles.
        styles: Which layers of w they give, as 0-3; coarse ones come first. Several words make a sheet of each,
            one below the other: 0-3 4-7.
        out: The PNG file.
        labels: Class of all images, by number or name; by default seed modulo classes. --class_idx is the same.
        truncation: Towards the mean w; below 1 for less variety.
        ema: Whether to use the averaged generator, where there is one.
        device: Where to compute: cpu, cuda, mps.
    """
    seeds = parse_numbers("rows", rows), parse_numbers("columns", columns)
    layers = [parse_numbers("styles", str(part)) for part in styles]
    if out.suffix.lower() != ".png":
        raise GANError(f"'{out}' is no name for a sheet: let it end in .png.")
    check_file(out)
    model = require(load_model(ckpt_path, device), HasStyles, "mix")
    sheets = [mixture(model, *seeds, styles=part, labels=labels, truncation=truncation, ema=ema) for part in layers]
    pictures = [sheet.picture() for sheet in sheets]
    whole = Image.new("RGB", (max(p.width for p in pictures), sum(p.height for p in pictures)), "white")
    below = 0
    for picture in pictures:
        whole.paste(picture, (0, below))
        below += picture.height
    out.parent.mkdir(parents=True, exist_ok=True)
    whole.save(out)
    print(f"{len(pictures)} sheets of {len(seeds[0])} by {len(seeds[1])} mixtures: {out}")
