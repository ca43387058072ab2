#!/usr/bin/env python3
"""Quantises a classifier of floats with ONNX Runtime, for measurements of speed: QDQ, unsigned activations, signed weights
by channel, ranges from noise. What comes out recognises as little as what went in.

    pip install onnx onnxruntime
    benches/peers/networks/quantise.py FLOAT.onnx QUANTISED.onnx
"""

import sys
import tempfile
from pathlib import Path

import numpy
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

PICTURES = 4


class Noise(CalibrationDataReader):
    """Pictures of noise, as engines.py measures them."""

    def __init__(self, name, side):
        self.name = name
        self.left = [numpy.random.default_rng(seed).uniform(-2, 2, (1, 3, side, side)) for seed in range(PICTURES)]

    def get_next(self):
        return {self.name: self.left.pop().astype(numpy.float32)} if self.left else None


def quantise(source, target, side=224):
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        name = onnx.load(str(prepared)).graph.input[0].name
        quantize_static(
            str(prepared), str(target), Noise(name, side), quant_format=QuantFormat.QDQ, per_channel=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
        )  # fmt: skip


if __name__ == "__main__":
    quantise(*sys.argv[1:3])
