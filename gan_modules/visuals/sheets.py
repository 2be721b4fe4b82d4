"""Pictures with words: sheets of images under their sources' names."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from gan_modules.visuals.pictures import as_image, enlarge, visible

GAP = 2  # between images, in pixels
STRIP = 14  # height of a line of words, in pixels
LINE = 15  # height of a line that `write` writes, in pixels
FONT = ImageFont.load_default(12)
CELL = 96  # the least height and width of an image in a sheet, in pixels


def sheet(cells: Sequence[Sequence[Tensor | None]], columns: Sequence[str], rows: Sequence[str]) -> Image.Image:
    """Lay images out as a table, an RGB picture.

    Args:
        cells: Rows of images ``(C, H, W)`` in [-1, 1], all of one shape; None leaves a place free.
        columns: Words above each column.
        rows: Words to the left of each row.
    """
    pictures = [
        [None if image is None else as_image(enlarge(visible(image[None]), CELL)[0]) for image in row] for row in cells
    ]
    width, height = next(picture.size for row in pictures for picture in row if picture)
    pen = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    margin = GAP + int(max((pen.multiline_textbbox((0, 0), words)[2] for words in rows), default=0)) + 2 * GAP
    size = margin + len(columns) * (width + GAP), STRIP + GAP + len(rows) * (height + GAP)
    canvas = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(canvas)
    for x, words in enumerate(columns):
        pen.text((margin + x * (width + GAP), GAP), words, fill="black")
    for y, (row, words) in enumerate(zip(pictures, rows, strict=True)):
        top = STRIP + GAP + y * (height + GAP)
        pen.multiline_text((GAP, top), words, fill="black")
        for x, picture in enumerate(row):
            if picture:
                canvas.paste(picture, (margin + x * (width + GAP), top))
    return canvas


def write(canvas: Image.Image, place: tuple[int, int], words: str) -> None:
    """Write words in black, a line below the other, from their top left corner on."""
    pen = ImageDraw.Draw(canvas)
    for index, line in enumerate(words.splitlines()):
        pen.text((place[0], place[1] + index * LINE), line, fill="black", font=FONT)


def shorten(words: str, width: int, lines: int) -> str:
    """Break words into at most so many lines of at most so many pixels; what is left out is marked by an ellipsis."""
    broken: list[str] = []
    left = words.split()
    while left and len(broken) < lines:
        line = left.pop(0)
        while left and FONT.getlength(f"{line} {left[0]}") <= width:
            line += f" {left.pop(0)}"
        broken.append(line)
    if left:
        broken[-1] += " …"
    return "\n".join(_cut(line, width) for line in broken)


def _cut(line: str, width: int) -> str:
    if FONT.getlength(line) <= width:
        return line
    kept = line.rstrip(" …")
    while kept and FONT.getlength(f"{kept}…") > width:
        kept = kept[:-1]
    return f"{kept}…"
