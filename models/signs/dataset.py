"""Renders a set of frames into one array file, preprocessed: what training reads.

    python dataset.py training /tmp/signs/training.npz
    python dataset.py validation /tmp/signs/validation.npz

Both sets are drawn from the training circumstances, under different frame
numbers. Choices are made on `validation`; the held-out frames are no part of this.
"""

import argparse
import multiprocessing
from pathlib import Path

import numpy as np

import preprocess
import render
from labels import LABELS, NO_KNOWN_SIGN

TRAINING_PER_CLASS = 1400
VALIDATION_PER_CLASS = 60
VALIDATION_FROM = 10_000_000
"""The first frame number of the validation set."""


def numbers(name: str) -> list[tuple[str, int]]:
    """The frames of a set: label and number. `no known sign` covers many things and counts twice."""
    first, count = (0, TRAINING_PER_CLASS) if name == "training" else (VALIDATION_FROM, VALIDATION_PER_CLASS)
    return [
        (label, first + number)
        for label in LABELS
        for number in range(count * 2 if label == NO_KNOWN_SIGN and name == "training" else count)
    ]


def _square(item: tuple[str, int]) -> np.ndarray:
    return preprocess.square_of_jpeg(render.frame(render.TRAINING, *item))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("set", choices=("training", "validation"))
    parser.add_argument("file", type=Path)
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    items = numbers(arguments.set)
    with multiprocessing.Pool(arguments.processes) as pool:
        squares = np.stack(pool.map(_square, items, chunksize=64))
    labels = np.array([LABELS.index(label) for label, _ in items], np.int32)
    arguments.file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(arguments.file, squares=squares, labels=labels)
    print(f"{len(items)} frames in {arguments.file}")


if __name__ == "__main__":
    main()
