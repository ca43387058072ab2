#!/usr/bin/env python3
"""ONNX Runtime as Margay's engine beside ONNX Runtime in Python: the same library, the one of Python's wheel, the same model,
inference alone. The upper end of the ratio's interval is to be at most 1.05.

    pip install numpy onnx onnxruntime ai-edge-litert flatbuffers
    cargo build --release --workspace --example engines
    benches/peers/binding.py [--rounds 30] [--threads 1,2] [--clock wall|processor] [--networks resnet18,…] [--real FOLDER]

Method and options are those of engines.py, which see: both are processes that hold the model and take turns, and what is
compared are the medians of the rounds, pairwise; the interval holds 95 % of the medians of resampled rounds.
"""

import argparse
import importlib.util
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(HERE), str(HERE / "networks")]

import engines  # noqa: E402: found by the line above

NETWORKS = ["mobilenet_v2", "squeezenet1_1", "mobilenet_v3_small", "resnet18"]

# Seconds before a round: longer than the threads of a pool spin.
PAUSE = 0.3


def library():
    wheel = importlib.util.find_spec("onnxruntime")
    if wheel is None:
        sys.exit("onnxruntime is not there: pip install onnxruntime")
    files = sorted((Path(wheel.origin).parent / "capi").glob("libonnxruntime.so*"))
    if not files:
        sys.exit("this wheel of onnxruntime has no library of its own: take one from PyPI, 1.17 or later")
    return files[-1]


def ratio(ours, theirs):
    pairs = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    draw = random.Random(1)
    medians = sorted(statistics.median(draw.choices(pairs, k=len(pairs))) for _ in range(2000))
    return statistics.median(pairs), medians[50], medians[1949]


def row(arguments, name, file, threads):
    ours = engines.Runtime([arguments.program, f"onnxruntime:{arguments.library}", file, engines.SIDE, threads])
    theirs = engines.Runtime([sys.executable, HERE / "runtimes.py", "onnxruntime", file, threads, engines.SIDE])
    gap = max(abs(a - b) for a, b in zip(ours.ask("scores"), theirs.ask("scores"), strict=True))
    pair = [ours, theirs]
    for runtime in pair:
        runtime.settle()
    for _ in range(arguments.rounds):
        random.shuffle(pair)
        for runtime in pair:
            # Python's pool spins on after its last run and would hold a core; ours is told to stop.
            time.sleep(PAUSE)
            runtime.round(arguments.clock)
    for runtime in pair:
        runtime.close()
    middle, low, high = ratio(ours.rounds, theirs.rounds)
    times = [statistics.median(runtime.rounds) for runtime in (ours, theirs)]
    verdict = "yes" if high <= 1.05 else "no"
    print(f"| {name} | {threads} | {times[0]:.3f} | {times[1]:.3f} | {middle:.3f} ({low:.3f}–{high:.3f}) | {verdict} | "
          f"{gap:.1e} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path, default=ROOT / "target/release/examples/engines")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--clock", choices=["wall", "processor"], default="wall")
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--real", type=Path, help="folder with real weights, as for engines.py")
    arguments = parser.parse_args()
    arguments.library = library()
    with tempfile.TemporaryDirectory() as folder:
        files = engines.prepare(arguments.networks.split(","), arguments.real, Path(folder), is_plain=True)
        print(f"{arguments.clock} time, {arguments.rounds} rounds, {time.strftime('%Y-%m-%d')}\n")
        print("| network | threads | Margay, ms | Python, ms | ratio (95 %) | at most 1.05 | scores differ by |")
        print("|---|---|---|---|---|---|---|")
        for name, file in files.items():
            for threads in arguments.threads.split(","):
                row(arguments, name, file, int(threads))


if __name__ == "__main__":
    main()
