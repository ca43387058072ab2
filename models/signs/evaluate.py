"""Scores an exported model on the held-out frames, as the appliance would see them.

    python evaluate.py package/signs.onnx

Every frame is a JPEG file of 320 x 240 pixels that is decoded, preprocessed by
the package's rule and run through ONNX Runtime. Prints the share that is
right with Wilson's 95 % interval, a line for each class, and the confusions.
"""

import argparse
import json
import math
import time
from collections import Counter
from pathlib import Path

import numpy as np
import onnxruntime

import frames
import preprocess
from labels import LABELS


class Model:
    """An exported model on one thread."""

    def __init__(self, file: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])

    def logits(self, jpeg: bytes) -> np.ndarray:
        """The model's scores for a JPEG file, one a class."""
        squares = preprocess.square_of_jpeg(jpeg)[None]
        return self._session.run(["logits"], {"image": preprocess.tensor(squares)})[0][0]


def wilson(right: int, total: int) -> tuple[float, float]:
    """Wilson's score interval at 95 % for a share of `right` in `total`."""
    z = 1.959964
    share, scale = right / total, 1 + z * z / total
    middle = (share + z * z / (2 * total)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return max(0.0, middle - half), min(1.0, middle + half)


def line(name: str, right: int, total: int) -> str:
    """A row of the report's table."""
    low, high = wilson(right, total)
    return f"| {name} | {right} / {total} | {right / total:.1%} | {low:.1%} to {high:.1%} |"


def report(model: Model, items: list[tuple[str, bytes]]) -> None:
    """Prints the table for frames given as label and JPEG file."""
    answers: Counter[tuple[str, str]] = Counter()
    sure: Counter[tuple[bool, bool]] = Counter()
    for truth, jpeg in items:
        logits = model.logits(jpeg)
        best = LABELS[int(logits.argmax())]
        probability = np.exp(logits - logits.max())
        answers[truth, best] += 1
        sure[truth == best, probability.max() / probability.sum() >= 0.5] += 1
    totals = Counter(truth for truth, _ in items)
    print("| class | right | share | 95 % interval (Wilson) |\n|---|---|---|---|")
    for label in LABELS:
        if totals[label]:
            print(line(label, answers[label, label], totals[label]))
    print(line("all", sum(answers[label, label] for label in LABELS), len(items)))
    print(f"\nat a probability of 0.5 or more: {sure[True, True]} right, {sure[False, True]} wrong;", end=" ")
    print(f"below: {sure[True, False]} right, {sure[False, False]} wrong")
    wrong = [(count, pair) for pair, count in answers.items() if pair[0] != pair[1]]
    for count, (truth, best) in sorted(wrong, reverse=True):
        print(f"{count} x {truth} taken for {best}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--committed", action="store_true", help="score only the frames in frames/")
    arguments = parser.parse_args()
    if arguments.committed:
        truth = json.loads((frames.FOLDER / "truth.json").read_text())
        items = [(label, (frames.FOLDER / name).read_bytes()) for name, label in truth.items()]
    else:
        items = [(label, frames.held_out(label, number)) for label, number in frames.HELD_OUT]
    started = time.process_time()
    report(Model(arguments.model), items)
    print(f"{(time.process_time() - started) / len(items) * 1e3:.2f} ms CPU a frame, decoding and resizing included")


if __name__ == "__main__":
    main()
