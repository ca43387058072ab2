#!/usr/bin/env python3
"""One small member of each family of classifiers, with random weights, as exporters write them; and what ONNX Runtime says
of two pictures. For tests/models/families.rs:

    families.py FOLDER

writes NAME.onnx and NAME.f32: for each picture its pixels, then its scores, as little-endian floats. Graphs have the
families' operators and connections; channels are few, and odd where that may matter.
"""

import sys
from pathlib import Path

import numpy
import onnx
import onnxruntime
from onnx import TensorProto, helper

sys.path.insert(0, str(Path(__file__).resolve().parents[4] / "benches/peers/networks"))
import export  # noqa: E402

PICTURES = 2


class Graph(export.Graph):
    """A graph of an operator set for pictures of a side; normalisations stay operators where `folds` is false."""

    def __init__(self, name, side, opset=13, folds=True):
        super().__init__(name)
        self.opset, self.folds, self.side["input"] = opset, folds, side

    def conv(self, x, channels, kernel=1, stride=1, groups=1, padding=None, gain=2.0):
        x = super().conv(x, channels, kernel, stride, groups, padding, gain)
        return x if self.folds else self.normalise(x)

    def vector(self, count, mean, deviation):
        return self.constant((mean + self.random.standard_normal(count) * deviation).astype(numpy.float32))

    def weights_of(self, shape, gain):
        return (self.random.standard_normal(shape) * (gain / shape[1]) ** 0.5).astype(numpy.float32)

    def normalise(self, x):
        count = self.channels[x]
        parameters = [self.vector(count, 1, 0.1), self.vector(count, 0, 0.1), self.vector(count, 0, 0.1)]
        variance = self.constant(self.random.uniform(0.5, 1.5, count).astype(numpy.float32))
        return self.like("BatchNormalization", [x, *parameters, variance], epsilon=1e-5)

    def rectangle(self, x, channels, kernel, padding):
        weights = self.weights((channels, self.channels[x], *kernel), 2.0)
        return self.node("Conv", [x, weights], channels, self.side[x], kernel_shape=kernel, pads=[*padding, *padding])

    def relu6(self, x):
        return self.like("Clip", [x], min=0.0, max=6.0) if self.opset < 11 else super().relu6(x)

    def pool(self, x, kernel, stride, padding=0, ceil=False):
        if self.opset >= 10:
            return super().pool(x, kernel, stride, padding, ceil)
        side = (self.side[x] + 2 * padding - kernel) // stride + 1
        attributes = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [padding] * 4}
        return self.node("MaxPool", [x], self.channels[x], side, **attributes)

    def mean_pool(self, x, kernel, stride, padding=0, counts=0):
        side = (self.side[x] + 2 * padding - kernel) // stride + 1
        attributes = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [padding] * 4}
        return self.node("AveragePool", [x], self.channels[x], side, count_include_pad=counts, **attributes)

    def concat(self, parts):
        return self.node("Concat", parts, sum(map(self.channels.get, parts)), self.side[parts[0]], axis=1)

    def integers(self, *values):
        return self.constant(numpy.asarray(values, numpy.int64))

    def shuffle(self, x, groups):
        channels, side = self.channels[x], self.side[x]
        x = self.like("Reshape", [x, self.integers(1, groups, channels // groups, side, side)])
        x = self.like("Transpose", [x], perm=[0, 2, 1, 3, 4])
        return self.like("Reshape", [x, self.integers(1, channels, side, side)])

    def resize(self, x, side, mode, coordinates, by_sizes=False, **attributes):
        """Rows and columns to a side, by scales or by sizes, as the operator set has it."""
        scale, channels = side / self.side[x], self.channels[x]
        scales = self.constant(numpy.asarray([1, 1, scale, scale], numpy.float32))
        if self.opset < 11:
            kind = "Upsample" if self.opset < 10 else "Resize"
            return self.node(kind, [x, scales], channels, side, mode=mode)
        inputs = [x, "", "", self.integers(1, channels, side, side)] if by_sizes else [x, "", scales]
        attributes = {"mode": mode, "coordinate_transformation_mode": coordinates, **attributes}
        return self.node("Resize", inputs, channels, side, **attributes)

    def slice(self, x, axes, starts, ends, steps, channels, side):
        bounds = [self.integers(*numbers) for numbers in (starts, ends, axes, steps)]
        return self.node("Slice", [x, *bounds], channels, side)

    def head(self, x, classes=10):
        return self.classify(self.flatten(self.average(x)), classes)

    def file(self, out):
        self.nodes[-1].output[0] = "output"
        side = self.side["input"]
        image = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, side, side])
        scores = helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, self.channels[out]])
        graph = helper.make_graph(self.nodes, self.name, [image], [scores], self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)


def mobilenet_v1(name):
    g = Graph(name, 48, opset=9, folds=False)
    x = g.relu(g.conv("input", 8, 3, 2))
    for channels, stride in [(16, 1), (24, 2), (24, 1), (40, 2), (72, 2)]:
        x = g.relu(g.conv(x, g.channels[x], 3, stride, groups=g.channels[x]))
        x = g.relu(g.conv(x, channels))
    return g, g.head(x)


def inverted(g, x, expansion, kernel, channels, stride, activation, gate=None):
    before, hidden = x, g.channels[x] * expansion
    x = activation(g.conv(x, hidden))
    x = activation(g.conv(x, hidden, kernel, stride, groups=hidden))
    x = gate(x) if gate else x
    x = g.conv(x, channels, gain=1.0)
    return g.add(before, x) if stride == 1 and g.channels[before] == channels else x


def mobilenet_v2(name):
    g = Graph(name, 56, opset=10, folds=False)
    x = g.relu6(g.conv("input", 8, 3, 2))
    for channels, stride in [(8, 1), (12, 2), (12, 1), (24, 2), (24, 1), (40, 2)]:
        x = inverted(g, x, 6, 3, channels, stride, g.relu6)
    return g, g.head(g.relu6(g.conv(x, 80)))


def mobilenet_v3(name):
    g = Graph(name, 48, opset=14)
    hard_swish = lambda x: g.like("HardSwish", [x])
    x = hard_swish(g.conv("input", 8, 3, 2))
    for kernel, channels, stride, activation in [(3, 8, 1, g.relu), (5, 20, 2, g.hard_swish), (5, 20, 1, hard_swish)]:
        gate = lambda y: g.gate(y, 8, g.relu, g.hard_sigmoid)
        x = inverted(g, x, 4, kernel, channels, stride, activation, gate)
    x = g.flatten(g.average(hard_swish(g.conv(x, 48))))
    return g, g.classify(hard_swish(g.classify(x, 64)), 10)


def efficientnet(name):
    g = Graph(name, 48)
    sigmoid = lambda y: g.like("Sigmoid", [y])
    x = g.silu(g.conv("input", 8, 3, 2))
    for kernel, channels, stride in [(3, 8, 1), (3, 12, 2), (5, 20, 2), (5, 20, 1)]:
        x = inverted(g, x, 6, kernel, channels, stride, g.silu, lambda y: g.gate(y, 4, g.silu, sigmoid))
    return g, g.head(g.silu(g.conv(x, 64)))


def efficientnet_lite(name):
    """As TensorFlow's exporter leaves it: SAME by auto_pad, ReduceMean, Squeeze."""
    g = Graph(name, 47)
    same = lambda x, channels, kernel, stride, groups: g.node(
        "Conv", [x, g.weights((channels, g.channels[x] // groups, kernel, kernel), 2.0)], channels,
        -(-g.side[x] // stride), auto_pad="SAME_UPPER", strides=[stride] * 2, group=groups)
    x = g.relu6(same("input", 8, 3, 2, 1))
    for kernel, channels, stride in [(3, 12, 2), (5, 20, 2), (5, 20, 1)]:
        hidden = g.channels[x] * 6
        y = g.relu6(same(g.relu6(same(x, hidden, 1, 1, 1)), hidden, kernel, stride, hidden))
        y = same(y, channels, 1, 1, 1)
        x = g.add(y, x) if stride == 1 else y
    x = g.node("ReduceMean", [x], g.channels[x], 1, axes=[2, 3], keepdims=1)
    x = g.node("Squeeze", [x, g.integers(2, 3)], g.channels[x], 1)
    return g, g.classify(x, 10)


def squeezenet(name):
    g = Graph(name, 63)
    x = g.pool(g.relu(g.conv("input", 16, 3, 2, padding=0)), 3, 2, ceil=True)
    for narrow, wide in [(8, 24), (12, 20)]:
        squeezed = g.relu(g.conv(x, narrow))
        x = g.concat([g.relu(g.conv(squeezed, wide, kernel)) for kernel in (1, 3)])
        x = g.pool(x, 3, 2, ceil=True)
    x = g.like("Dropout", [x])
    return g, g.flatten(g.average(g.relu(g.conv(x, 10))))


def residual(g, blocks, groups=1, gate=None):
    x = g.pool(g.relu(g.conv("input", 16, 7, 2)), 3, 2, padding=1)
    for channels, stride in blocks:
        y = g.relu(g.conv(g.relu(g.conv(x, channels)), channels, 3, stride, groups=groups))
        y = g.conv(gate(y) if gate else y, channels, gain=0.5)
        if stride != 1 or g.channels[x] != channels:
            x = g.conv(x, channels, 1, stride, gain=1.0)
        x = g.relu(g.add(y, x))
    return g, g.head(x)


def resnet(name):
    return residual(Graph(name, 64, opset=7, folds=False), [(32, 1), (32, 1), (48, 2), (48, 1)])


def resnext(name):
    return residual(Graph(name, 64), [(32, 1), (64, 2), (64, 1)], groups=8)


def regnet(name):
    g = Graph(name, 64)
    return residual(g, [(24, 1), (56, 2), (56, 1)], 4, lambda y: g.gate(y, 6, g.relu, lambda z: g.like("Sigmoid", [z])))


def densenet(name):
    g = Graph(name, 64, opset=9)
    x = g.pool(g.relu(g.conv("input", 16, 7, 2)), 3, 2, padding=1)
    for last in (False, True):
        for _ in range(3):
            y = g.conv(g.relu(g.normalise(x)), 20)
            x = g.concat([x, g.conv(g.relu(g.normalise(y)), 12, 3)])
        x = g.relu(g.normalise(x))
        x = x if last else g.mean_pool(g.conv(x, 24), 2, 2)
    return g, g.head(x)


def shufflenet_v1(name):
    g = Graph(name, 48)
    x = g.pool(g.relu(g.conv("input", 12, 3, 2)), 3, 2, padding=1)
    for stride in (2, 1):
        groups, wide = 3, 36 - 12 if stride == 2 else 36
        y = g.shuffle(g.relu(g.conv(x, 24, groups=groups)), groups)
        y = g.conv(g.conv(y, 24, 3, stride, groups=24), wide, groups=groups)
        x = g.relu(g.concat([g.mean_pool(x, 3, 2, 1, 1), y]) if stride == 2 else g.add(x, y))
    return g, g.head(x)


def shufflenet_v2(name):
    g = Graph(name, 48)
    x = g.relu(g.conv("input", 24, 3, 2))
    for part in range(2):
        half = g.channels[x] // 2
        if part == 0:
            left, right = f"left_{part}", f"right_{part}"
            g.nodes.append(helper.make_node("Split", [x, g.integers(half, half)], [left, right], axis=1))
            for each in (left, right):
                g.channels[each], g.side[each] = half, g.side[x]
        else:
            bounds = [(g.integers(0), g.integers(half)), (g.integers(half), g.integers(2**62))]
            left, right = [g.node("Slice", [x, *pair, g.integers(1)], half, g.side[x]) for pair in bounds]
        y = g.relu(g.conv(right, half))
        y = g.relu(g.conv(g.conv(y, half, 3, groups=half), half))
        x = g.shuffle(g.concat([left, y]), 2)
    return g, g.head(x)


def inception(name):
    g = Graph(name, 64)
    x = g.pool(g.relu(g.conv("input", 16, 3, 2)), 3, 2)
    for _ in range(2):
        tall = g.relu(g.rectangle(g.relu(g.conv(x, 12)), 12, [1, 7], [0, 3]))
        branches = [
            g.relu(g.conv(x, 20)), g.relu(g.conv(g.relu(g.conv(x, 8)), 12, 5)),
            g.relu(g.rectangle(tall, 24, [7, 1], [3, 0])), g.relu(g.conv(g.mean_pool(x, 3, 1, 1), 8)),
        ]  # fmt: skip
        x = g.concat(branches)
    return g, g.head(g.concat([g.pool(x, 3, 2), g.relu(g.conv(x, 20, 3, 2, padding=0))]))


def vgg(name):
    g = Graph(name, 32)
    x = "input"
    for channels, count in [(16, 1), (32, 2), (48, 2)]:
        for _ in range(count):
            x = g.relu(g.conv(x, channels, 3))
        x = g.pool(x, 2, 2)
    flat = g.node("Flatten", [x], g.channels[x] * g.side[x] ** 2, 1, axis=1)
    return g, g.classify(g.like("Dropout", [g.relu(g.classify(flat, 64))]), 10)


def mnasnet(name):
    g = Graph(name, 48, folds=False)
    x = g.relu(g.conv("input", 16, 3, 2))
    x = g.conv(g.relu(g.conv(x, 16, 3, groups=16)), 8, gain=1.0)
    for kernel, channels, stride in [(3, 12, 2), (3, 12, 1), (5, 20, 2), (5, 20, 1)]:
        x = inverted(g, x, 3, kernel, channels, stride, g.relu)
    return g, g.head(g.relu(g.conv(x, 64)))


def ghostnet(name):
    g = Graph(name, 48)
    three, six = (g.constant(numpy.float32(value)) for value in (3, 6))
    gate = lambda y: g.like("Div", [g.relu6(g.like("Add", [y, three])), six])

    def ghost(x, channels, activation):
        half = -(-channels // 2)
        first = activation(g.conv(x, half))
        both = g.concat([first, activation(g.conv(first, half, 3, groups=half))])
        bounds = [g.integers(0), g.integers(channels), g.integers(1), g.integers(1)]
        return g.node("Slice", [both, *bounds], channels, g.side[x])

    x = g.relu(g.conv("input", 16, 3, 2))
    for hidden, channels in [(32, 16), (41, 16)]:
        y = g.gate(ghost(x, hidden, g.relu), 8, g.relu, gate)
        x = g.add(ghost(y, channels, lambda z: z), x)
    return g, g.head(x)


def pyramid(g, resize):
    """Maps of three sizes, each joined with the next smaller one resized, as in detectors' necks."""
    maps = [g.relu(g.conv("input", 16, 3, 2))]
    for channels in (24, 40):
        maps.append(g.relu(g.conv(maps[-1], channels, 3, 2)))
    x = g.relu(g.conv(maps.pop(), 20))
    for step, larger in enumerate(reversed(maps)):
        x = g.concat([resize(x, g.side[larger], step), larger])
        x = g.relu(g.conv(x, 20 + 12 * step, 3))
    return g, g.head(x)


def pyramid_nearest(name):
    g = Graph(name, 48)
    return pyramid(g, lambda x, side, step: g.resize(x, side, "nearest", "asymmetric", nearest_mode="floor"))


def pyramid_bilinear(name):
    g = Graph(name, 50)
    coordinates = ["pytorch_half_pixel", "align_corners"]
    return pyramid(g, lambda x, side, step: g.resize(x, side, "linear", coordinates[step], by_sizes=True))


def pyramid_upsample(name):
    g = Graph(name, 48, opset=9)
    return pyramid(g, lambda x, side, step: g.resize(x, side, ["nearest", "linear"][step], None))


def pyramid_resize_10(name):
    g = Graph(name, 48, opset=10)
    return pyramid(g, lambda x, side, step: g.resize(x, side, ["linear", "nearest"][step], None))


def sampled(name):
    """Every coordinate and every way of rounding, larger and smaller, side by side."""
    g = Graph(name, 30, opset=19)
    x, parts = g.relu(g.conv("input", 20, 3, 2)), []
    modes = ["asymmetric", "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners"]
    for place, coordinates in enumerate(modes):
        for near in ["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"]:
            for side in (7, 30, 40):
                y = g.resize(x, side, "nearest", coordinates, bool(place % 2), nearest_mode=near)
                parts.append(g.average(g.relu(g.conv(y, 3, 3))))
        for side in (7, 30, 40):
            y = g.resize(x, side, "linear", coordinates, bool(place % 2))
            parts.append(g.average(g.relu(g.conv(y, 5, 3))))
    return g, g.classify(g.flatten(g.concat(parts)), 10)


def focus(name):
    """Squares of pixels as channels, by slices of a step and by SpaceToDepth; and a crop."""
    g = Graph(name, 52)
    every = lambda x, axis, start: g.slice(x, [axis], [start], [2**62], [2], 3, 26)
    corners = [every(every("input", 2, y), 3, x) for x in (0, 1) for y in (0, 1)]
    x = g.relu(g.conv(g.concat(corners), 20, 3))
    x = g.slice(x, [2, 3], [1, -25], [25, -1], [1, 1], 20, 24)
    x = g.node("SpaceToDepth", [x], 80, 12, blocksize=2)
    return g, g.head(g.relu(g.conv(x, 24, 3)))


def layer_norm(g, x, operator):
    """Over the last axis: as an operator, or as exporters spell it before operator set 17."""
    count = g.channels[x]
    scale, shift = g.vector(count, 1, 0.1), g.vector(count, 0, 0.1)
    if operator:
        return g.like("LayerNormalization", [x, scale, shift], axis=-1, epsilon=1e-6)
    mean = lambda y: g.like("ReduceMean", [y], axes=[-1], keepdims=1)
    centred = g.like("Sub", [x, mean(x)])
    variance = mean(g.like("Pow", [centred, g.constant(numpy.float32(2))]))
    deviation = g.like("Sqrt", [g.like("Add", [variance, g.constant(numpy.float32(1e-6))])])
    return g.like("Add", [g.like("Mul", [g.like("Div", [centred, deviation]), scale]), shift])


def gelu(g, x, operator):
    if operator:
        return g.like("Gelu", [x])
    one, half = g.constant(numpy.float32(1)), g.constant(numpy.float32(0.5))
    error = g.like("Erf", [g.like("Div", [x, g.constant(numpy.float32(2**0.5))])])
    return g.like("Mul", [g.like("Mul", [x, g.like("Add", [error, one])]), half])


def linear(g, x, channels, gain):
    weights = g.constant((g.weights_of((channels, g.channels[x]), gain)).T.copy())
    bias = g.vector(channels, 0, 0.05)
    return g.node("Add", [bias, g.node("MatMul", [x, weights], channels, g.side[x])], channels, g.side[x])


def convnext_of(g, stages, operators):
    last, first = dict(perm=[0, 2, 3, 1]), dict(perm=[0, 3, 1, 2])
    norm = lambda y: g.like("Transpose", [layer_norm(g, g.like("Transpose", [y], **last), operators)], **first)
    x = norm(g.conv("input", stages[0][0], 4, 4, padding=0, gain=1.0))
    for channels, blocks in stages:
        if channels != g.channels[x]:
            x = g.conv(norm(x), channels, 2, 2, padding=0, gain=1.0)
        for _ in range(blocks):
            y = g.like("Transpose", [g.conv(x, channels, 7, groups=channels, gain=1.0)], **last)
            y = gelu(g, linear(g, layer_norm(g, y, operators), 4 * channels, 1.0), operators)
            y = g.like("Transpose", [linear(g, y, channels, 2.0)], **first)
            scale = g.constant((0.5 + 0.2 * g.random.standard_normal((channels, 1, 1))).astype(numpy.float32))
            x = g.add(g.node("Mul", [y, scale] if operators else [scale, y], channels, g.side[y]), x)
    return g, g.classify(g.flatten(norm(g.average(x))), 10)


def convnext(name):
    """As torch exports it before operator set 17, functions spelled out."""
    return convnext_of(Graph(name, 72, opset=13), [(24, 2), (40, 1)], False)


def convnext_operators(name):
    """As torch exports it from operator set 20 on."""
    return convnext_of(Graph(name, 64, opset=20), [(16, 1), (40, 2)], True)


def tanh_gelu(g, x, operator):
    if operator:
        return g.like("Gelu", [x], approximate="tanh")
    root, cubic, one, half = (g.constant(numpy.float32(y)) for y in [(2 / numpy.pi) ** 0.5, 0.044715, 1, 0.5])
    cube = g.like("Mul", [x, g.like("Mul", [x, x])])
    inner = g.node("Mul", [root, g.like("Add", [x, g.node("Mul", [cubic, cube], g.channels[x], 1)])], g.channels[x], 1)
    both = g.like("Mul", [x, g.node("Add", [one, g.like("Tanh", [inner])], g.channels[x], 1)])
    return g.node("Mul", [half, both], g.channels[x], 1)


class Tokens:
    """A vision transformer under construction; `heads` is how its attention takes queries, keys and values apart."""

    def __init__(self, g, channels, patch, prefix, heads):
        self.g, self.channels, self.heads = g, channels, heads
        x = g.conv("input", channels, patch, patch, padding=0, gain=1.0)
        count = g.side[x] ** 2
        x = g.like("Reshape", [x, g.integers(0, channels, -1)])
        x = g.like("Transpose", [x], perm=[0, 2, 1])
        self.count = prefix + count
        if prefix:
            before = [g.constant(self.numbers(1, 1, channels)) for _ in range(prefix)]
            x = g.node("Concat", [*before, x], channels, 1, axis=1)
        self.last = g.like("Add", [x, g.constant(self.numbers(1, self.count, channels))])

    def numbers(self, *shape):
        return self.g.random.standard_normal(shape).astype(numpy.float32)

    def block(self, operators, mix, gelu):
        g = self.g
        y = mix(self, linear(g, layer_norm(g, self.last, operators), 3 * self.channels, 1.0))
        x = g.like("Add", [self.last, linear(g, y, self.channels, 1.0)])
        y = gelu(g, linear(g, layer_norm(g, x, operators), 2 * self.channels, 1.0), operators)
        self.last = g.like("Add", [x, linear(g, y, self.channels, 2.0)])

    def attend(self, queries, keys, values, scale):
        """Of [heads, tokens, channels] each, keys with tokens and channels changed; `scale` is a factor of the scores, or none."""
        g = self.g
        scores = g.like("MatMul", [queries, keys])
        scores = scores if scale is None else g.like("Div", [scores, g.constant(numpy.float32(1 / scale))])
        return g.like("MatMul", [g.like("Softmax", [scores], axis=-1), values])

    def merge(self, y):
        """[1, heads, tokens, channels] as tokens."""
        g = self.g
        y = g.like("Transpose", [y], perm=[0, 2, 1, 3])
        return g.node("Reshape", [y, g.integers(1, self.count, self.channels)], self.channels, 1)


def of_five_axes(tokens, qkv):
    """As timm has it: queries are scaled, and each is one place of the first axis."""
    g, of_head = tokens.g, tokens.channels // tokens.heads
    y = g.like("Reshape", [qkv, g.integers(1, tokens.count, 3, tokens.heads, of_head)])
    y = g.like("Transpose", [y], perm=[2, 0, 3, 1, 4])
    queries, keys, values = (g.like("Gather", [y, g.constant(numpy.int64(place))], axis=0) for place in range(3))
    queries = g.like("Mul", [queries, g.constant(numpy.float32(of_head**-0.5))])
    keys = g.like("Transpose", [keys], perm=[0, 1, 3, 2])
    return tokens.merge(tokens.attend(queries, keys, values, None))


def of_split_axes(tokens, qkv):
    """As torch exports its own attention: the scale is the square of a root that is computed from the shape."""
    g, of_head = tokens.g, tokens.channels // tokens.heads
    y = g.like("Reshape", [qkv, g.integers(1, -1, 3, tokens.heads, of_head)])
    y = g.like("Transpose", [y], perm=[2, 0, 3, 1, 4])
    parts = [f"part_{len(g.nodes)}_{place}" for place in range(3)]
    g.nodes.append(helper.make_node("Split", [y, g.integers(1, 1, 1)], parts, axis=0))
    for part in parts:
        g.channels[part], g.side[part] = tokens.channels, 1
    queries, keys, values = (g.like("Squeeze", [part, g.integers(0)]) for part in parts)
    shape = g.like("Slice", [g.like("Shape", [queries]), g.integers(-1), g.integers(2**63 - 1)])
    root = g.like("Sqrt", [g.like("Cast", [shape], to=TensorProto.FLOAT)])
    root = g.node("Sqrt", [g.node("Div", [g.constant(numpy.float32([1])), root], 1, 1)], 1, 1)
    queries = g.like("Mul", [queries, root])
    keys = g.like("Mul", [g.like("Transpose", [keys], perm=[0, 1, 3, 2]), root])
    return tokens.merge(tokens.attend(queries, keys, values, None))


def of_three_parts(tokens, qkv):
    """As Hugging Face has it, but for one product instead of three: channels are cut, then heads; scores are divided."""
    g, of_head = tokens.g, tokens.channels // tokens.heads
    bounds = [g.integers(place * tokens.channels) for place in range(4)]
    parts = [g.like("Slice", [qkv, bounds[place], bounds[place + 1], g.integers(-1)]) for place in range(3)]
    parts = [g.like("Reshape", [part, g.integers(1, tokens.count, tokens.heads, of_head)]) for part in parts]
    queries, keys, values = (g.like("Transpose", [x], perm=[0, 2, *order]) for x, order in zip(parts, [(1, 3), (3, 1), (1, 3)]))
    return tokens.merge(tokens.attend(queries, keys, values, of_head**-0.5))


def of_interleaved_heads(tokens, qkv):
    """Queries, keys and values of a head beside one another; heads are not an axis of a batch of one."""
    g, of_head = tokens.g, tokens.channels // tokens.heads
    y = g.like("Reshape", [qkv, g.integers(tokens.count, tokens.heads, 3, of_head)])
    y = g.like("Transpose", [y], perm=[2, 1, 0, 3])
    queries, keys, values = (g.like("Gather", [y, g.constant(numpy.int64(place))], axis=0) for place in range(3))
    y = tokens.attend(queries, g.like("Transpose", [keys], perm=[0, 2, 1]), values, of_head**-0.5)
    return tokens.merge(g.like("Unsqueeze", [y, g.integers(0)]))


def classified(tokens, operators, place):
    """By one of the tokens, or by the mean of all."""
    g = tokens.g
    x = layer_norm(g, tokens.last, operators)
    if place is None:
        return g, g.classify(g.node("ReduceMean", [x], g.channels[x], 1, axes=[1], keepdims=0), 10)
    return g, g.classify(g.like("Gather", [x, g.constant(numpy.int64(place))], axis=1), 10)


def vit(name):
    """Functions spelled out, a class token, queries scaled."""
    tokens = Tokens(Graph(name, 48, opset=13), 64, 16, 1, 2)
    for _ in range(2):
        tokens.block(False, of_five_axes, gelu)
    return classified(tokens, False, 0)


def vit_distilled(name):
    """Two tokens before those of the picture, operators, as many heads as blocks of channels."""
    tokens = Tokens(Graph(name, 56, opset=20), 48, 8, 2, 3)
    for _ in range(2):
        tokens.block(True, of_split_axes, gelu)
    return classified(tokens, True, 1)


def vit_mean(name):
    """No token of its own: the mean of all; channels cut; GELU by the hyperbolic tangent."""
    tokens = Tokens(Graph(name, 40, opset=17), 64, 4, 0, 4)
    for mix in (of_three_parts, of_interleaved_heads):
        tokens.block(False, mix, tanh_gelu)
    return classified(tokens, False, None)


def vit_tanh(name):
    """One head; operators."""
    tokens = Tokens(Graph(name, 24, opset=20), 32, 8, 1, 1)
    tokens.block(True, of_three_parts, tanh_gelu)
    return classified(tokens, True, -1)


FAMILIES = [
    mobilenet_v1, mobilenet_v2, mobilenet_v3, efficientnet, efficientnet_lite, squeezenet, resnet, resnext, regnet, densenet,
    shufflenet_v1, shufflenet_v2, inception, vgg, mnasnet, ghostnet, convnext, convnext_operators,
    vit, vit_distilled, vit_mean, vit_tanh,
    pyramid_nearest, pyramid_bilinear, pyramid_upsample, pyramid_resize_10, sampled, focus,
]  # fmt: skip


def main():
    folder = Path(sys.argv[1])
    for build in FAMILIES:
        graph, out = build(build.__name__)
        model = graph.file(out)
        onnx.checker.check_model(model)
        onnx.save(model, folder / f"{build.__name__}.onnx")
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        side, numbers = graph.side["input"], []
        for picture in range(PICTURES):
            pixels = numpy.random.default_rng(picture).standard_normal([1, 3, side, side]).astype("<f4")
            numbers += [pixels.ravel(), session.run(None, {"input": pixels})[0].ravel().astype("<f4")]
        numpy.concatenate(numbers).tofile(folder / f"{build.__name__}.f32")
        print(build.__name__, side)


if __name__ == "__main__":
    main()
