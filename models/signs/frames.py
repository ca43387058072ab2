"""The held-out frames: which there are, and the sample of them that is committed for the demo and the tests.

    python frames.py

writes `frames/` (a seeded random sample, in random order, under names that
tell nothing), `frames/truth.json` and `contact-sheet.jpg`.
"""

import io
import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

import render
from labels import LABELS

FOLDER = Path(__file__).parent / "frames"
SHEET = Path(__file__).parent / "contact-sheet.jpg"

PER_CLASS = 100
COMMITTED = 60
SAMPLE_SEED = 2026

HELD_OUT = [(label, number) for label in LABELS for number in range(PER_CLASS)]
"""Label and number of every held-out frame."""


def held_out(label: str, number: int) -> bytes:
    """A held-out frame as a JPEG file."""
    return render.frame(render.HELD_OUT, label, number)


def _sheet(items: list[tuple[str, bytes]]) -> Image.Image:
    """All frames at half size with their labels below."""
    columns, width, height = 10, 160, 134
    sheet = Image.new("RGB", (columns * width, -(-len(items) // columns) * height), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (label, jpeg) in enumerate(items):
        left, top = i % columns * width, i // columns * height
        sheet.paste(Image.open(io.BytesIO(jpeg)).reduce(2), (left, top))
        draw.text((left + 4, top + 121), label, fill="black")
    return sheet


def main() -> None:
    rng = np.random.default_rng(SAMPLE_SEED)
    chosen = [HELD_OUT[i] for i in rng.choice(len(HELD_OUT), COMMITTED, replace=False)]
    FOLDER.mkdir(exist_ok=True)
    items, truth = [], {}
    for i, (label, number) in enumerate(chosen):
        jpeg, name = held_out(label, number), f"frame-{i:03}.jpg"
        (FOLDER / name).write_bytes(jpeg)
        items.append((label, jpeg))
        truth[name] = label
    (FOLDER / "truth.json").write_text(json.dumps(truth, indent=2) + "\n")
    _sheet(items).save(SHEET, quality=45)
    print(
        f"{COMMITTED} frames, {sum(len(jpeg) for _, jpeg in items)} bytes; contact sheet {SHEET.stat().st_size} bytes"
    )


if __name__ == "__main__":
    main()
