#!/usr/bin/env python3
"""Writes classifiers with random weights as ONNX files, for measurements of speed: MobileNet v2 and v3 small, SqueezeNet
1.1, ResNet-18 and -50, EfficientNet B0, DeiT tiny and small. Their graphs are those of the papers as torchvision builds and
exports them, batch normalisation folded into the convolutions, operator set 13, input `input` f32 [1, 3, 224, 224], output
`output` f32 [1, 1000]. **They recognise nothing.** The weights come from a generator seeded with the network's name, so that every
run writes the same file.

    pip install onnx
    benches/peers/networks/export.py --output networks [mobilenet_v3_small resnet18 …]
"""

import argparse
import sys
import zlib
from pathlib import Path

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

from vision_transformers import deit_small, deit_tiny

SIDE = 224
CLASSES = 1000
OPSET = 13
IR_VERSION = 8


class Graph:
    """A graph under construction. Every method adds an operation and returns the name of what comes out of it."""

    def __init__(self, name):
        self.name = name
        self.random = numpy.random.default_rng(zlib.crc32(name.encode()))
        self.nodes, self.constants, self.channels, self.side = [], [], {"input": 3}, {"input": SIDE}

    def node(self, kind, inputs, channels, side, **attributes):
        out = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [out], name=out, **attributes))
        self.channels[out], self.side[out] = channels, side
        return out

    def like(self, kind, inputs, **attributes):
        """An operation whose result has the shape of its first input that is no constant."""
        first = next(name for name in inputs if name in self.channels)
        return self.node(kind, inputs, self.channels[first], self.side[first], **attributes)

    def constant(self, values):
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(numpy.asarray(values), name))
        return name

    def weights(self, shape, gain):
        """Normal with the variance that keeps that of the signal: `gain` 2 before a rectifier, 1 elsewhere."""
        deviation = (gain / numpy.prod(shape[1:])) ** 0.5
        return self.constant((self.random.standard_normal(shape) * deviation).astype(numpy.float32))

    def conv(self, x, channels, kernel=1, stride=1, groups=1, padding=None, gain=2.0):
        before = self.channels[x]
        padding = kernel // 2 if padding is None else padding
        side = (self.side[x] + 2 * padding - kernel) // stride + 1
        weights = self.weights((channels, before // groups, kernel, kernel), gain)
        bias = self.constant((self.random.standard_normal(channels) * 0.05).astype(numpy.float32))
        return self.node(
            "Conv", [x, weights, bias], channels, side, group=groups, dilations=[1, 1],
            kernel_shape=[kernel, kernel], pads=[padding] * 4, strides=[stride, stride],
        )

    def pool(self, x, kernel, stride, padding=0, ceil=False):
        span = self.side[x] + 2 * padding - kernel
        side = (span + stride - 1 if ceil else span) // stride + 1
        return self.node(
            "MaxPool", [x], self.channels[x], side,
            kernel_shape=[kernel, kernel], pads=[padding] * 4, strides=[stride, stride], ceil_mode=int(ceil),
        )

    def relu(self, x):
        return self.like("Relu", [x])

    def relu6(self, x):
        return self.like("Clip", [x, self.constant(numpy.float32(0)), self.constant(numpy.float32(6))])

    def hard_sigmoid(self, x):
        return self.like("HardSigmoid", [x], alpha=1 / 6, beta=0.5)

    def hard_swish(self, x):
        return self.like("Mul", [x, self.hard_sigmoid(x)])

    def silu(self, x):
        return self.like("Mul", [x, self.like("Sigmoid", [x])])

    def add(self, x, y):
        return self.like("Add", [x, y])

    def average(self, x):
        return self.node("GlobalAveragePool", [x], self.channels[x], 1)

    def gate(self, x, squeezed, activation, gate):
        """Squeeze and excite: each channel scaled by what its averages say."""
        narrow = activation(self.conv(self.average(x), squeezed))
        return self.like("Mul", [x, gate(self.conv(narrow, self.channels[x], gain=1.0))])

    def classify(self, x, classes=CLASSES):
        """The fully connected layer, for which `x` is flat."""
        weights = self.weights((classes, self.channels[x]), 1.0)
        bias = self.constant(numpy.zeros(classes, numpy.float32))
        return self.node("Gemm", [x, weights, bias], classes, 1, transB=1)

    def flatten(self, x):
        return self.node("Flatten", [x], self.channels[x], 1, axis=1)

    def model(self, out):
        self.nodes[-1].output[0] = "output"
        assert self.channels[out] == CLASSES, out
        image = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, SIDE, SIDE])
        scores = helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, CLASSES])
        graph = helper.make_graph(self.nodes, self.name, [image], [scores], self.constants)
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(graph, opset_imports=[opset], producer_name="margay-benches", ir_version=IR_VERSION)
        onnx.checker.check_model(model, full_check=True)
        return model


def rounded(channels, divisor=8):
    """To a multiple of eight, never below nine tenths (MobileNet v2's rule)."""
    nearest = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return nearest + divisor if nearest < 0.9 * channels else nearest


def mobilenet_v2(graph):
    """Sandler et al. 2018, table 2."""
    x = graph.relu6(graph.conv("input", 32, 3, 2))
    settings = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
    for expansion, channels, count, first_stride in settings:
        for stride in [first_stride] + [1] * (count - 1):
            before, hidden = x, graph.channels[x] * expansion
            if expansion != 1:
                x = graph.relu6(graph.conv(x, hidden))
            x = graph.relu6(graph.conv(x, hidden, 3, stride, groups=hidden))
            x = graph.conv(x, channels, gain=1.0)
            if stride == 1 and graph.channels[before] == channels:
                x = graph.add(before, x)
    x = graph.relu6(graph.conv(x, 1280))
    return graph.classify(graph.flatten(graph.average(x)))


def mobilenet_v3_small(graph):
    """Howard et al. 2019, table 2."""
    x = graph.hard_swish(graph.conv("input", 16, 3, 2))
    blocks = [
        # kernel, expanded, out, gated, activation, stride
        (3, 16, 16, True, "relu", 2), (3, 72, 24, False, "relu", 2), (3, 88, 24, False, "relu", 1),
        (5, 96, 40, True, "hard_swish", 2), (5, 240, 40, True, "hard_swish", 1), (5, 240, 40, True, "hard_swish", 1),
        (5, 120, 48, True, "hard_swish", 1), (5, 144, 48, True, "hard_swish", 1), (5, 288, 96, True, "hard_swish", 2),
        (5, 576, 96, True, "hard_swish", 1), (5, 576, 96, True, "hard_swish", 1),
    ]
    for kernel, hidden, channels, gated, name, stride in blocks:
        before, activation = x, getattr(graph, name)
        if hidden != graph.channels[x]:
            x = activation(graph.conv(x, hidden))
        x = activation(graph.conv(x, hidden, kernel, stride, groups=hidden))
        if gated:
            x = graph.gate(x, rounded(hidden // 4), graph.relu, graph.hard_sigmoid)
        x = graph.conv(x, channels, gain=1.0)
        if stride == 1 and graph.channels[before] == channels:
            x = graph.add(before, x)
    x = graph.hard_swish(graph.conv(x, 576))
    x = graph.hard_swish(graph.classify(graph.flatten(graph.average(x)), 1024))
    return graph.classify(x)


def squeezenet1_1(graph):
    """Iandola et al. 2016, in the faster form of the authors' repository."""
    x = graph.relu(graph.conv("input", 64, 3, 2, padding=0))
    fires = [None, (16, 64), (16, 64), None, (32, 128), (32, 128), None, (48, 192), (48, 192), (64, 256), (64, 256)]
    for fire in fires:
        if fire is None:
            x = graph.pool(x, 3, 2, ceil=True)
            continue
        narrow = graph.relu(graph.conv(x, fire[0]))
        sides = [graph.relu(graph.conv(narrow, fire[1], kernel)) for kernel in (1, 3)]
        x = graph.node("Concat", sides, 2 * fire[1], graph.side[narrow], axis=1)
    x = graph.relu(graph.conv(x, CLASSES))
    return graph.flatten(graph.average(x))


def residual(graph, counts, bottleneck):
    """He et al. 2015, table 1."""
    x = graph.pool(graph.relu(graph.conv("input", 64, 7, 2)), 3, 2, padding=1)
    for stage, count in enumerate(counts):
        width = 64 << stage
        channels = 4 * width if bottleneck else width
        for block in range(count):
            stride = 2 if stage > 0 and block == 0 else 1
            if bottleneck:
                y = graph.relu(graph.conv(x, width))
                y = graph.relu(graph.conv(y, width, 3, stride))
                y = graph.conv(y, channels, gain=0.2)
            else:
                y = graph.relu(graph.conv(x, width, 3, stride))
                y = graph.conv(y, channels, 3, gain=0.2)
            if stride != 1 or graph.channels[x] != channels:
                x = graph.conv(x, channels, 1, stride, gain=1.0)
            x = graph.relu(graph.add(y, x))
    return graph.classify(graph.flatten(graph.average(x)))


def resnet18(graph):
    return residual(graph, [2, 2, 2, 2], bottleneck=False)


def resnet50(graph):
    return residual(graph, [3, 4, 6, 3], bottleneck=True)


def efficientnet_b0(graph):
    """Tan and Le 2019, table 1."""
    x = graph.silu(graph.conv("input", 32, 3, 2))
    settings = [
        # expansion, kernel, stride, out, count
        (1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3), (6, 5, 1, 112, 3), (6, 5, 2, 192, 4),
        (6, 3, 1, 320, 1),
    ]
    for expansion, kernel, first_stride, channels, count in settings:
        for stride in [first_stride] + [1] * (count - 1):
            before, hidden = x, graph.channels[x] * expansion
            if expansion != 1:
                x = graph.silu(graph.conv(x, hidden))
            x = graph.silu(graph.conv(x, hidden, kernel, stride, groups=hidden))
            x = graph.gate(x, max(1, graph.channels[before] // 4), graph.silu, lambda y: graph.like("Sigmoid", [y]))
            x = graph.conv(x, channels, gain=1.0)
            if stride == 1 and graph.channels[before] == channels:
                x = graph.add(before, x)
    x = graph.silu(graph.conv(x, 1280))
    return graph.classify(graph.flatten(graph.average(x)))


NETWORKS = {
    build.__name__: build
    for build in (
        mobilenet_v2, mobilenet_v3_small, squeezenet1_1, resnet18, resnet50, efficientnet_b0, deit_tiny, deit_small,
    )
}


def write(names, folder):
    """Writes the networks into `folder`, and gives the files by name."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for name in names:
        graph = Graph(name)
        model = graph.model(NETWORKS[name](graph))
        files[name] = folder / f"{name}.onnx"
        onnx.save(model, files[name])
    return files


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NETWORK", help=f"of {', '.join(NETWORKS)}; all by default")
    parser.add_argument("--output", type=Path, default=Path("networks"), help="folder to write to")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in NETWORKS]
    if unknown:
        parser.error(f"no such network: {', '.join(unknown)}; there are {', '.join(NETWORKS)}")
    for name, file in write(arguments.names or list(NETWORKS), arguments.output).items():
        print(f"{name}: {file}, {file.stat().st_size / 1e6:.1f} MB", file=sys.stderr)


if __name__ == "__main__":
    main()
