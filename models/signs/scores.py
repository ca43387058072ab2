"""What the models answered on the committed frames, counted, and the table that models/README.md shows of it.

Needs nothing but Python. `confusion.json` holds the counts: for each package
what the frames of each class were taken for, and how many answers reach the
packages' threshold. `evaluate.py --margay` writes it; the promise
`tests/promises/accuracy.rs` counts again and compares.
"""

import hashlib
import json
import math
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from labels import LABELS

FILE = Path(__file__).parent / "confusion.json"
THRESHOLD = 0.5
"""The packages' `minimum_probability`."""


class Answer(NamedTuple):
    """What a model says of a frame: its most probable class."""

    label: str
    probability: float


class Score(NamedTuple):
    """A model's answers, counted."""

    taken_for: dict[str, dict[str, int]]
    """By class shown, then by class answered; what never happened is left out."""
    answered: int
    """How many answers reach the threshold."""
    answered_rightly: int

    def right(self, label: str) -> int:
        """How many frames of a class were answered rightly."""
        return self.taken_for[label].get(label, 0)

    def shown(self, label: str) -> int:
        """How many frames of a class there are."""
        return sum(self.taken_for[label].values())


def count(truth: list[str], answers: list[Answer]) -> Score:
    """The score of a model's answers to frames with these labels."""
    pairs = Counter((shown, answer.label) for shown, answer in zip(truth, answers, strict=True))
    sure = [shown == answer.label for shown, answer in zip(truth, answers) if answer.probability >= THRESHOLD]
    taken_for = {
        shown: {label: pairs[shown, label] for label in LABELS if pairs[shown, label]}
        for shown in LABELS
        if shown in truth
    }
    return Score(taken_for, len(sure), sum(sure))


def load() -> dict[str, Score]:
    """The committed scores, by the package's name."""
    return {name: Score(**score) for name, score in json.loads(FILE.read_text()).items()}


def save(scores: dict[str, Score]) -> None:
    """Writes the scores, a line a class."""
    FILE.write_text(json.dumps({name: score._asdict() for name, score in scores.items()}, indent=2) + "\n")


def digest() -> str:
    """The digest of the committed scores, which the picture of them carries."""
    return hashlib.sha256(FILE.read_bytes()).hexdigest()


def wilson(right: int, total: int) -> tuple[float, float]:
    """Wilson's score interval at 95 % for a share of `right` in `total`."""
    z = 1.959964
    share, scale = right / total, 1 + z * z / total
    middle = (share + z * z / (2 * total)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return max(0.0, middle - half), min(1.0, middle + half)


def table(scores: dict[str, Score]) -> str:
    """The README's table: a row a class, a pair of columns a model."""

    def row(name: str, counts: list[tuple[int, int]]) -> str:
        cells = [
            f"{right} / {total} | {_percent(right / total)} | {_interval(right, total)}" for right, total in counts
        ]
        return f"| {' | '.join([name, *cells])} |"

    models = list(scores.values())
    heads = [f"`{name}` | share | 95 % interval" for name in scores]
    rows = [row(label, [(s.right(label), s.shown(label)) for s in models]) for label in models[0].taken_for]
    sums = [(sum(map(s.right, s.taken_for)), sum(map(s.shown, s.taken_for))) for s in models]
    rows.append(row("**all**", sums))
    rows.append(row(f"answered at {THRESHOLD} or more", [(s.answered_rightly, s.answered) for s in models]))
    return "\n".join([f"| class | {' | '.join(heads)} |", "|---" * (1 + 3 * len(models)) + "|", *rows])


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _interval(right: int, total: int) -> str:
    return " to ".join(map(_percent, wilson(right, total)))
