"""Turns the package's float model into the int8 one: 8-bit weights and activations, spelt as QDQ.

    python quantise.py package/signs.onnx package-int8/signs-int8.onnx

Weights are signed bytes with a scale for each output channel, activations
unsigned bytes with a scale for each tensor. The ranges of the activations are
the smallest and the largest value on frames of the training set; no held-out
frame is looked at. Input and logits stay floats, so that the package is used
as the other one is and two classes do not tie. Opset 13, as before.
"""

import argparse
from pathlib import Path

import numpy as np
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

import preprocess
import render
from labels import LABELS

CALIBRATION_PER_CLASS = 50
"""How many frames of each class the ranges are taken from: the first of the training set."""


class Calibration(CalibrationDataReader):
    """Training frames, one after the other, as the model's input."""

    def __init__(self) -> None:
        self._items = iter([(label, number) for label in LABELS for number in range(CALIBRATION_PER_CLASS)])

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next frame; `None` after the last."""
        item = next(self._items, None)
        if item is None:
            return None
        square = preprocess.square_of_jpeg(render.frame(render.TRAINING, *item))
        return {"image": preprocess.tensor(square[None])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("quantised", type=Path)
    arguments = parser.parse_args()
    arguments.quantised.parent.mkdir(parents=True, exist_ok=True)
    quantize_static(
        arguments.model,
        arguments.quantised,
        Calibration(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.MinMax,
        extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm"]},
    )
    print(f"{arguments.quantised}: {arguments.quantised.stat().st_size} bytes")


if __name__ == "__main__":
    main()
