#!/usr/bin/env python3
"""Latency by stage of the bundled model and of real ones, as `margay bench` measures it, with ONNX Runtime's inference
of the same model beside it in the same run: rounds are interleaved, and the median of the rounds is printed as Markdown.

    benches/models.py --margay target/dist/margay [--engine onnxruntime] [--models ../shared/models] [--rounds 5] [--frames 100]

With `--engine onnxruntime` both run the same library, the one of Python's wheel. The ratio is the median of the rounds' ratios
with the 95 % interval of a bootstrap over the rounds.

ONNX Runtime is left out where Python's onnxruntime is not installed (pip install onnxruntime).
"""

import argparse
import importlib.util
import json
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STAGES = ["decode", "resize", "inference", "postprocess", "total"]

# Name, model file below the folder of real models, how it is packed, and the picture that it classifies.
REAL = [
    ("squeezenet 1.1, float", "squeezenet1.1_fp32.onnx", ["--preset", "imagenet"]),
    ("mobilenet v2, float", "mobilenetv2_fp32.onnx", ["--preset", "imagenet"]),
    ("mobilenet v2, int8 QDQ", "mobilenetv2-12-qdq.onnx", ["--preset", "imagenet"]),
    ("mobilenet v1 0.25 128, u8 QDQ", "mobilenet_v1_0.25_128_qdq.onnx", []),
]
PHOTO = "coral_cat_720p.jpg"

WHEEL = importlib.util.find_spec("onnxruntime")
LIBRARY = str(Path(WHEEL.origin).parent / "capi") if WHEEL else ""

# One process a run, as Margay's worker is one: p50 of single inferences on one thread, in milliseconds.
ORT = """
import sys, time, statistics
import numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
wanted = session.get_inputs()[0]
shape = [axis if isinstance(axis, int) else 1 for axis in wanted.shape]
image = numpy.random.default_rng(1).random(shape, dtype=numpy.float32)
if wanted.type == "tensor(uint8)":
    image = (image * 255).astype(numpy.uint8)
for _ in range(20):
    session.run(None, {wanted.name: image})
times = []
for _ in range(int(sys.argv[2])):
    start = time.perf_counter()
    session.run(None, {wanted.name: image})
    times.append(time.perf_counter() - start)
print(statistics.median(times) * 1e3)
"""


def packages(arguments, folder):
    """Name, package, ONNX file and picture of everything that is measured."""
    signs = ROOT / "models/signs"
    frame = signs / "frames/frame-000.jpg"
    yield "road signs, float (bundled)", signs / "road-signs-1.0.0.tar.gz", signs / "package/signs.onnx", frame
    yield "road signs, int8", signs / "road-signs-int8-1.0.0.tar.gz", next((signs / "package-int8").glob("*.onnx")), frame
    if not arguments.models.is_dir():
        print(f"left out: no models in {arguments.models}", file=sys.stderr)
        return
    for name, file, options in REAL:
        model = arguments.models / "onnx" / file
        package = folder / f"{file}.tar.gz"
        labels = arguments.models / "labels/synset.txt"
        command = [arguments.margay, "model", "pack", model, "--labels", labels, "--output", package, *options]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        yield name, package, model, arguments.models / "photos" / PHOTO


def margay(arguments, package, picture):
    command = [arguments.margay, "bench", "--json", "--frames", str(arguments.frames), "--model", package, picture]
    if arguments.engine:
        command += ["--threads", "1", "--engines", arguments.engine]
    if arguments.engine.startswith("onnxruntime"):
        command += ["--onnxruntime", LIBRARY]
    report = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    # The one run, with what is said of all.
    return {**report, **report["runs"][0], **report["runs"][0]["stages"]}


def onnx_runtime(arguments, model):
    command = [sys.executable, "-c", ORT, str(model), str(arguments.frames)]
    run = subprocess.run(command, capture_output=True, text=True)
    return float(run.stdout) if run.returncode == 0 else None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--margay", default=str(ROOT / "target/dist/margay"))
    parser.add_argument("--engine", default="", help="as margay bench --engines; by default what the packages say")
    parser.add_argument("--models", type=Path, default=ROOT.parent / "shared/models")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--frames", type=int, default=100)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        subjects = list(packages(arguments, Path(folder)))
        runs = {name: [] for name, *_ in subjects}
        for number in range(arguments.rounds):
            for name, package, model, picture in subjects:
                print(f"round {number + 1} of {arguments.rounds}: {name}", file=sys.stderr)
                runs[name].append((margay(arguments, package, picture), onnx_runtime(arguments, model)))
    report = next(iter(runs.values()))[0][0]
    processor = report["processor"]
    print(f"{processor['name']}, {processor['cores']} cores, margay {report['margay']} ({report['build']} build)\n")
    print("| model | " + " | ".join(STAGES) + " | p99 | frames/s | cold start | RSS | ONNX Runtime | ratio |")
    print("|---|" + "---|" * (len(STAGES) + 6))
    for name, rounds in runs.items():
        print(row(name, rounds))


def row(name, rounds):
    median = lambda take: statistics.median(take(report) for report, _ in rounds)
    cells = [f"{median(lambda r: r[stage]['p50']) / 1e3:.2f}" for stage in STAGES]
    cells.append(f"{median(lambda r: r['total']['p99']) / 1e3:.2f}")
    cells.append(f"{median(lambda r: r['frames_per_second']):.0f}")
    cells.append(f"{median(lambda r: r['cold_start_us']) / 1e3:.0f}")
    cells.append(f"{median(lambda r: r['rss_bytes'] or 0) / 2**20:.0f}")
    if any(peer is None for _, peer in rounds):
        return f"| {name} | " + " | ".join(cells) + " | – | – |"
    ratios = sorted(report["inference"]["p50"] / 1e3 / peer for report, peer in rounds)
    cells.append(f"{statistics.median(peer for _, peer in rounds):.2f}")
    draw = random.Random(1)
    medians = sorted(statistics.median(draw.choices(ratios, k=len(ratios))) for _ in range(2000))
    cells.append(f"{statistics.median(ratios):.2f} ({medians[50]:.2f}–{medians[1949]:.2f})")
    return f"| {name} | " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
