#!/usr/bin/env python3
"""Quantises a classifier in LiteRT's format (tflite.py writes it) with Google's quantiser, for measurements of speed: bytes
from end to end, weights by channel, ranges from noise; the picture and the scores stay floats, as with the other runtimes.
What comes out recognises as little as what went in.

    pip install ai-edge-quantizer
    benches/peers/networks/litert_bytes.py FLOAT.tflite QUANTISED.tflite
"""

import sys

import numpy
from ai_edge_quantizer import qtyping, quantizer, recipe
from ai_edge_quantizer.algorithm_manager import AlgorithmName

PICTURES = 4


def quantise(source, target, side=224):
    work = quantizer.Quantizer(str(source), recipe.static_wi8_ai8())
    for end in (qtyping.TFLOperationName.INPUT, qtyping.TFLOperationName.OUTPUT):
        work.update_quantization_recipe(".*", end, algorithm_key=AlgorithmName.NO_QUANTIZE)
    pictures = [numpy.random.default_rng(seed).uniform(-2, 2, (1, side, side, 3)) for seed in range(PICTURES)]
    data = {"serving_default": [{"input": picture.astype(numpy.float32)} for picture in pictures]}
    work.quantize(work.calibrate(data)).export_model(str(target), overwrite=True)


if __name__ == "__main__":
    quantise(*sys.argv[1:3])
