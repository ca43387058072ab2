#!/usr/bin/env python3
"""One inference on each engine, with ONNX Runtime beside them: rounds are interleaved, and what is compared is the time
on the processor of single runs on one thread, so that other work on the machine disturbs it less. Printed as Markdown:
the least over all rounds, and the ratio to ONNX Runtime's.

    cargo build --release --workspace --example engines
    benches/engines.py [--program target/release/examples/engines] [--models ../shared/models] [--rounds 10] [--runs 40]

ONNX Runtime is left out where Python's onnxruntime is not installed (pip install onnxruntime).
"""

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENGINES = ["tract", "compiled", "compiled:avx2"]

ORT = """
import sys, time
import numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
image = numpy.random.default_rng(1).random([1, 3, int(sys.argv[2]), int(sys.argv[2])], dtype=numpy.float32)
name = session.get_inputs()[0].name
times = []
for _ in range(int(sys.argv[3]) + 1):
    start = time.thread_time()
    session.run(None, {name: image})
    times.append(time.thread_time() - start)
print(min(times[1:]) * 1e3)
"""


def subjects(models):
    """Name, file and side of the pictures of everything that is measured."""
    yield "road signs", ROOT / "models/signs/package/signs.onnx", 96
    for name, file in [("squeezenet 1.1", "squeezenet1.1_fp32.onnx"), ("mobilenet v2", "mobilenetv2_fp32.onnx")]:
        if (models / "onnx" / file).is_file():
            yield name, models / "onnx" / file, 224


def first_number(command):
    run = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    return float(run.stdout.split()[0]) if run.returncode == 0 else None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=str(ROOT / "target/release/examples/engines"))
    parser.add_argument("--models", type=Path, default=ROOT.parent / "shared/models")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--engines", default=",".join(ENGINES))
    arguments = parser.parse_args()
    engines = arguments.engines.split(",")
    columns = [*engines, "ONNX Runtime"]
    least = {}
    for number in range(arguments.rounds):
        for name, file, side in subjects(arguments.models):
            print(f"round {number + 1} of {arguments.rounds}: {name}", file=sys.stderr)
            commands = [[arguments.program, engine, file, side, side, arguments.runs] for engine in engines]
            commands.append([sys.executable, "-c", ORT, file, side, arguments.runs])
            for column, command in zip(columns, commands):
                time = first_number(command)
                if time is not None:
                    least[name, column] = min(time, least.get((name, column), time))
    print("| model | " + " | ".join(f"{column}, ms" for column in columns) + " |")
    print("|---|" + "---|" * len(columns))
    for name, *_ in subjects(arguments.models):
        peer = least.get((name, columns[-1]))
        print(f"| {name} | " + " | ".join(cell(least.get((name, column)), peer) for column in columns) + " |")


def cell(time, peer):
    if time is None:
        return "–"
    return f"{time:.2f}" if peer is None else f"{time:.2f} ({time / peer:.2f})"


if __name__ == "__main__":
    main()
