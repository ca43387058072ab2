"""The held-out frames: which there are, and the sample of them that is committed.

    python frames.py

writes `frames/` (a seeded random sample, in random order, under names that
tell nothing), `frames/truth.json` and `contact-sheet.jpg`. The first
DEMO frames are drawn from all 1200 alike and are what `margay demo` plays;
the others fill every class up to COMMITTED_PER_CLASS.
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
DEMO = 60
COMMITTED_PER_CLASS = 40
SAMPLE_SEED = 2026

HELD_OUT = [(label, number) for label in LABELS for number in range(PER_CLASS)]
"""Label and number of every held-out frame."""


def held_out(label: str, number: int) -> bytes:
    """A held-out frame as a JPEG file."""
    return render.frame(render.HELD_OUT, label, number)


def sample() -> list[tuple[str, int]]:
    """Label and number of the committed frames, in the order of their names."""
    rng = np.random.default_rng(SAMPLE_SEED)
    chosen = [HELD_OUT[i] for i in rng.choice(len(HELD_OUT), DEMO, replace=False)]
    missing = {label: COMMITTED_PER_CLASS - sum(other == label for other, _ in chosen) for label in LABELS}
    for i in rng.permutation(len(HELD_OUT)):
        frame = HELD_OUT[i]
        if frame not in chosen and missing[frame[0]] > 0:
            chosen.append(frame)
            missing[frame[0]] -= 1
    return chosen


def committed() -> list[tuple[str, Path]]:
    """Label and file of the committed frames, in the order of their names."""
    truth = json.loads((FOLDER / "truth.json").read_text())
    return [(label, FOLDER / name) for name, label in sorted(truth.items())]


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
    FOLDER.mkdir(exist_ok=True)
    items, truth = [], {}
    for i, (label, number) in enumerate(sample()):
        jpeg, name = held_out(label, number), f"frame-{i:03}.jpg"
        (FOLDER / name).write_bytes(jpeg)
        items.append((label, jpeg))
        truth[name] = label
    (FOLDER / "truth.json").write_text(json.dumps(truth, indent=2) + "\n")
    _sheet(items[:DEMO]).save(SHEET, quality=45)
    size = sum(len(jpeg) for _, jpeg in items)
    print(f"{len(items)} frames, {size} bytes; contact sheet {SHEET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
