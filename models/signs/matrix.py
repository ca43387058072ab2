"""Draws `confusion.png`: what the road-sign model takes for what, from the counts in `confusion.json`.

    python matrix.py

A row for each class shown, a column for each class answered. The picture has
a light ground of its own, so that it reads on a dark page too, and carries
the digest of the counts that it shows (`test_package.py` compares).
"""

from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

import scores
from labels import LABELS

FILE = scores.FILE.with_suffix(".png")
MODEL = "road-signs"

CELL = 46
LEFT, TOP, EDGE = 236, 216, 28
"""Room for the names of rows and columns, and around the whole, in pixels."""
GROUND, INK, FAINT = (250, 250, 247), (32, 36, 40), (206, 208, 204)
RIGHT, WRONG = (28, 112, 84), (186, 62, 22)
"""Colours of a cell on the diagonal and off it that holds a whole row, and three frames."""
NAMES, COUNTS = ImageFont.load_default(17), ImageFont.load_default(18)


def _mixed(colour: tuple[int, ...], share: float) -> tuple[int, ...]:
    """The ground with a share of another colour."""
    return tuple(round(g + (c - g) * share) for g, c in zip(GROUND, colour))


def _cell(draw: ImageDraw.ImageDraw, row: int, column: int, number: int, shown: int) -> None:
    left, top = LEFT + column * CELL, TOP + row * CELL
    share = number / shown if row == column else min(1.0, 0.25 + number / 4)
    fill = _mixed(RIGHT if row == column else WRONG, share) if number else GROUND
    draw.rectangle((left, top, left + CELL, top + CELL), fill=fill, outline=FAINT)
    if number:
        ink = GROUND if share > 0.6 else INK
        draw.text((left + CELL / 2, top + CELL / 2), str(number), ink, COUNTS, anchor="mm")


def _column_name(sheet: Image.Image, column: int, name: str) -> None:
    """Writes a name upwards from the head of its column."""
    strip = Image.new("RGB", (TOP - 2 * EDGE, CELL), GROUND)
    ImageDraw.Draw(strip).text((4, CELL / 2), name, INK, NAMES, anchor="lm")
    sheet.paste(strip.rotate(90, expand=True), (LEFT + column * CELL + 1, 2 * EDGE - 2))


def picture(score: scores.Score) -> Image.Image:
    """The matrix of a model's answers."""
    side = len(LABELS) * CELL
    sheet = Image.new("RGB", (LEFT + side + EDGE, TOP + side + EDGE), GROUND)
    draw = ImageDraw.Draw(sheet)
    total, right = sum(map(score.shown, LABELS)), sum(map(score.right, LABELS))
    title = f"{right} of {total} held-out frames answered rightly; rows: the sign shown, columns: the answer"
    draw.text((EDGE, EDGE), title, INK, NAMES, anchor="lm")
    for row, shown in enumerate(LABELS):
        _column_name(sheet, row, shown)
        draw.text((LEFT - 12, TOP + (row + 0.5) * CELL), shown, INK, NAMES, anchor="rm")
        for column, answered in enumerate(LABELS):
            _cell(draw, row, column, score.taken_for[shown].get(answered, 0), score.shown(shown))
    return sheet


def main() -> None:
    info = PngInfo()
    info.add_text("counts", scores.digest())
    picture(scores.load()[MODEL]).quantize(64).save(FILE, pnginfo=info, optimize=True)
    print(f"{FILE}: {FILE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
