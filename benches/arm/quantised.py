#!/usr/bin/env python3
"""Writes the quantised networks that arm_int8.sh counts, in every runtime's format, from the same random floats.

    pip install onnx onnxruntime ncnn pnnx ai-edge-litert ai-edge-quantizer
    benches/arm/quantised.py FOLDER [mobilenet_v2 resnet18 …]

Of each network come out NAME.int8.onnx, NAME.int8.ncnn.param and .bin, NAME.int8.tflite; the float ones lie beside them. Named
are how the scores of each correlate with those of the floats: near one, or it computes something else.
"""

import subprocess
import sys
from pathlib import Path

import numpy

PEERS = Path(__file__).resolve().parent.parent / "peers"
sys.path[:0] = [str(PEERS), str(PEERS / "networks")]

NETWORKS = ["mobilenet_v3_small", "mobilenet_v2", "squeezenet1_1", "resnet18"]
RUNTIMES = {"onnxruntime": ".int8.onnx", "ncnn": ".int8.ncnn.param", "litert": ".int8.tflite"}


def scores(runtime, model):
    command = [sys.executable, PEERS / "runtimes.py", runtime, model, "1", "224"]
    answer = subprocess.run(command, input="scores\n", capture_output=True, text=True, check=True)
    return numpy.array(answer.stdout.splitlines()[1].split(), float)


def main():
    import engines
    import litert_bytes
    import ncnn_bytes

    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    files = engines.prepare(sys.argv[2:] or NETWORKS, None, folder)
    engines.quantised(files)
    for name, file in files.items():
        ncnn_bytes.quantise(folder / f"{name}.ncnn.param", folder / f"{name}.int8.ncnn.param")
        litert_bytes.quantise(folder / f"{name}.tflite", folder / f"{name}.int8.tflite")
        floats = scores("onnxruntime", file)
        for runtime, ending in RUNTIMES.items():
            found = numpy.corrcoef(floats, scores(runtime, folder / (name + ending)))[0, 1]
            print(f"{name}, {runtime}: {found:.3f}")


if __name__ == "__main__":
    main()
