#!/usr/bin/env python3
"""Writes the small quantised networks of this folder, and what ONNX Runtime computes with them.

    pip install onnx onnxruntime
    crates/inference/tests/models/golden/quantised.py

Writes those that are named, or all. Each NAME.onnx has random weights and was quantised by ONNX Runtime; NAME.bin holds, as
little-endian floats, a picture and the scores for it, for three pictures. `qdq-pyramid` joins a map with a smaller one that
is resized; every other network has a strided convolution, a depthwise one, a residual sum, a gate, a
pooling, a concatenation and a fully connected layer.
"""

import sys
import tempfile
from pathlib import Path

import numpy
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

HERE = Path(__file__).resolve().parent
SIDE, CLASSES, PICTURES = 21, 10, 3
KINDS = {
    "qdq-unsigned": dict(quant_format=QuantFormat.QDQ, per_channel=True),
    "qdq-signed": dict(quant_format=QuantFormat.QDQ, per_channel=True, activation_type=QuantType.QInt8),
    "qdq-by-tensor": dict(quant_format=QuantFormat.QDQ, per_channel=False, reduce_range=True),
    "qoperator": dict(quant_format=QuantFormat.QOperator, per_channel=True),
    "qdq-pyramid": dict(quant_format=QuantFormat.QDQ, per_channel=True),
}


def network(random, is_pyramid):
    nodes, constants = [], []

    def constant(values):
        constants.append(numpy_helper.from_array(values.astype(numpy.float32), f"c{len(constants)}"))
        return constants[-1].name

    def node(kind, inputs, **attributes):
        nodes.append(helper.make_node(kind, inputs, [f"t{len(nodes)}"], name=f"n{len(nodes)}", **attributes))
        return nodes[-1].output[0]

    def conv(x, inputs, outputs, kernel, stride=1, groups=1):
        shape = (outputs, inputs // groups, kernel, kernel)
        weights = constant(random.standard_normal(shape) * (2 / numpy.prod(shape[1:])) ** 0.5)
        bias = constant(random.standard_normal(outputs) * 0.1)
        pads = [kernel // 2] * 4
        return node("Conv", [x, weights, bias], kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=pads, group=groups)

    x = node("Relu", [conv("image", 3, 20, 3, stride=2)])
    if is_pyramid:
        y = node("Relu", [conv(x, 20, 24, 3, stride=2)])
        constants.append(numpy_helper.from_array(numpy.asarray([1, 24, 11, 11]), "sizes"))
        coordinates = {"coordinate_transformation_mode": "half_pixel", "nearest_mode": "round_prefer_ceil"}
        z = node("Resize", [y, "", "", "sizes"], mode="nearest", **coordinates)
        y = x
    else:
        y = node("Relu", [conv(x, 20, 20, 3, groups=20)])
        x = node("Add", [conv(y, 20, 20, 1), x])
        gate = node("HardSigmoid", [x], alpha=0.2, beta=0.5)
        x = node("Mul", [x, gate])
        y = node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
        z = node("Relu", [conv(x, 20, 24, 5, stride=2, groups=4)])
    x = node("Concat", [y, z], axis=1)
    x = node("GlobalAveragePool", [node("Relu", [conv(x, 44, 32, 1)])])
    x = node("Flatten", [x])
    weights, bias = constant(random.standard_normal((CLASSES, 32))), constant(random.standard_normal(CLASSES) * 0.1)
    nodes.append(helper.make_node("Gemm", [x, weights, bias], ["scores"], name="last", transB=1))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIDE, SIDE])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, CLASSES])
    graph = helper.make_graph(nodes, "small", [image], [scores], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


class Noise(CalibrationDataReader):
    def __init__(self):
        self.left = [picture(seed) for seed in range(100, 108)]

    def get_next(self):
        return {"image": self.left.pop()} if self.left else None


def picture(seed):
    return numpy.random.default_rng(seed).uniform(-2, 2, (1, 3, SIDE, SIDE)).astype(numpy.float32)


def main():
    for name in sys.argv[1:] or KINDS:
        options = KINDS[name]
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder) / "float.onnx", HERE / f"{name}.onnx"
            onnx.save(network(numpy.random.default_rng(len(name)), name == "qdq-pyramid"), source)
            options = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8, **options}
            quantize_static(str(source), str(target), Noise(), **options)
        model = onnx.load(target)
        # What tools leave behind takes more room than the network.
        del model.graph.value_info[:]
        onnx.save(model, target)
        session = onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"])
        with open(HERE / f"{name}.bin", "wb") as file:
            for seed in range(PICTURES):
                scores = session.run(None, {"image": picture(seed)})[0]
                file.write(picture(seed).tobytes() + scores.astype("<f4").tobytes())


if __name__ == "__main__":
    main()
