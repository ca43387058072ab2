"""Scores the packages on held-out frames, as the appliance would see them.

    python evaluate.py                                       # ONNX Runtime with Pillow
    python evaluate.py --margay ../../target/release/margay  # Margay itself; writes confusion.json
    python evaluate.py --all                                 # all 1200 frames, rendered on the spot

Every frame is a JPEG file of 320 x 240 pixels that is decoded, brought to the
model's size by the package's rule and classified. Prints the README's table,
the confusions, the time of an inference, and how far Margay and ONNX Runtime
agree.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime

import frames
import pack
import preprocess
import scores
from labels import LABELS

Engine = Callable[[Path, list[bytes]], tuple[list[scores.Answer], float]]
"""Answers of a package to JPEG files, and the median time of an inference in milliseconds."""


def by_onnxruntime(package: Path, jpegs: list[bytes]) -> tuple[list[scores.Answer], float]:
    """Pillow and ONNX Runtime, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    model = package / pack.manifest(package)["model"]["file"]
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    answers, times = [], []
    for jpeg in jpegs:
        tensor = preprocess.tensor(preprocess.square_of_jpeg(jpeg)[None])
        started = time.perf_counter()
        logits = session.run(["logits"], {"image": tensor})[0][0]
        times.append(1e3 * (time.perf_counter() - started))
        odds = np.exp(logits - logits.max())
        answers.append(scores.Answer(LABELS[int(logits.argmax())], float(odds.max() / odds.sum())))
    return answers, statistics.median(times)


def by_margay(program: Path) -> Engine:
    """`margay classify` with the package's archive: its decoder, its resampler, its engine, its sandbox."""

    def classify(package: Path, jpegs: list[bytes]) -> tuple[list[scores.Answer], float]:
        with tempfile.TemporaryDirectory() as folder:
            files = [Path(folder) / f"{i:04}.jpg" for i in range(len(jpegs))]
            for file, jpeg in zip(files, jpegs):
                file.write_bytes(jpeg)
            command = [program, "classify", "--json", "--top-k", "1", "--model", pack.archive_of(package), *files]
            lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
        results = [json.loads(line) for line in lines]
        best = [result["predictions"][0] for result in results]
        times = [result["timings"]["inference_us"] / 1e3 for result in results]
        return [scores.Answer(p["label"], p["probability"]) for p in best], statistics.median(times)

    return classify


def report(name: str, score: scores.Score, milliseconds: float) -> str:
    """What a model took for something else, most frequent first, and its speed."""
    wrong = [(n, shown, label) for shown, row in score.taken_for.items() for label, n in row.items() if label != shown]
    lines = [f"  {n} x {shown} taken for {label}" for n, shown, label in sorted(wrong, key=lambda item: -item[0])]
    return "\n".join([f"\n{name}: {milliseconds:.2f} ms an inference, median", *lines])


def agreement(truth: list[str], ours: list[scores.Answer], theirs: list[scores.Answer]) -> str:
    """How the answers of Margay compare with those of ONNX Runtime."""
    same = sum(a.label == b.label for a, b in zip(ours, theirs))
    right = sum(label == b.label for label, b in zip(truth, theirs))
    apart = statistics.median(abs(a.probability - b.probability) for a, b in zip(ours, theirs) if a.label == b.label)
    return f"ONNX Runtime: {right} right, the same class on {same}, probabilities {apart:.4f} apart in the median"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--margay", type=Path, metavar="PROGRAM", help="classify with this margay")
    parser.add_argument("--all", action="store_true", help="score all held-out frames, not only the committed ones")
    arguments = parser.parse_args()
    if arguments.all:
        items = [(label, frames.held_out(label, number)) for label, number in frames.HELD_OUT]
    else:
        items = [(label, file.read_bytes()) for label, file in frames.committed()]
    truth, jpegs = [label for label, _ in items], [jpeg for _, jpeg in items]
    classify = by_margay(arguments.margay) if arguments.margay else by_onnxruntime
    found, remarks = {}, []
    for package in pack.PACKAGES:
        name = pack.manifest(package)["model"]["name"]
        answers, milliseconds = classify(package, jpegs)
        found[name] = scores.count(truth, answers)
        remarks.append(report(name, found[name], milliseconds))
        if arguments.margay:
            remarks.append("  " + agreement(truth, answers, by_onnxruntime(package, jpegs)[0]))
    print(scores.table(found), *remarks, sep="\n")
    if arguments.margay and not arguments.all:
        scores.save(found)


if __name__ == "__main__":
    main()
