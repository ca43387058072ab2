#!/usr/bin/env python3
"""Quantises a classifier in ncnn's format for measurements of speed, as its tools ncnn2table and ncnn2int8 do, which no wheel
has: weights by channel, of six bits where the convolution may go by Winograd's method, one scale for a layer's input, from the
greatest magnitude over pictures of noise; a convolution that only other ones read gives bytes. What comes out recognises as
little as what went in.

    pip install ncnn numpy
    benches/peers/networks/ncnn_bytes.py FLOAT.ncnn.param QUANTISED.ncnn.param

The weights lie beside them, `.bin` in the place of `.param`.
"""

import sys
from pathlib import Path

import ncnn
import numpy

PICTURES = 4
BYTES = 0x000D4B38
CONVOLUTIONS = ("Convolution", "ConvolutionDepthWise")
OUTPUTS, KERNEL, WIDE, STRIDE, HAS_BIAS, WEIGHTS, GROUPS, TERM = 0, 1, 2, 3, 5, 6, 7, 8
REQUANTISES = 100


class Layer:
    """A line of the parameters; for one with weights also those, by output channel."""

    def __init__(self, line):
        self.kind, self.name, inputs, outputs, *rest = line.split()
        inputs, outputs = int(inputs), int(outputs)
        self.inputs, self.outputs = rest[:inputs], rest[inputs : inputs + outputs]
        self.words = rest[inputs + outputs :]
        self.fields = {int(key): value for key, value in (word.split("=") for word in self.words)}
        self.following = None
        if self.has_weights and self.number(TERM):
            raise ValueError(f"{self.name} is quantised")

    @property
    def has_weights(self):
        return self.kind in (*CONVOLUTIONS, "InnerProduct")

    def number(self, field, default=0):
        return int(self.fields.get(field, default))

    def read(self, stream):
        """The weights and the bias: of floats behind a tag of zero."""
        is_inner = self.kind == "InnerProduct"
        count, has_bias = self.number(2 if is_inner else WEIGHTS), self.number(1 if is_inner else HAS_BIAS)
        (tag,) = numpy.frombuffer(stream.read(4), numpy.uint32)
        if tag:
            raise ValueError(f"{self.name}: weights that are no plain floats")
        self.weights = numpy.frombuffer(stream.read(4 * count), numpy.float32).reshape(self.number(OUTPUTS), -1)
        self.bias = stream.read(4 * self.number(OUTPUTS) * has_bias)

    def goes_by_winograd(self):
        sides = [(self.number(field), self.number(field + 10, self.number(field))) for field in (KERNEL, WIDE, STRIDE)]
        return self.kind == "Convolution" and sides == [(3, 3), (1, 1), (1, 1)]

    def quantised(self, scale):
        """Its line and its part of the weights, where its input takes `scale` steps to a unit."""
        if self.kind == "ConvolutionDepthWise" and self.number(GROUPS) != self.number(OUTPUTS):
            raise ValueError(f"{self.name}: groups of channels")
        steps = 31 if self.goes_by_winograd() else 127
        greatest = numpy.abs(self.weights).max(axis=1)
        scales = (steps / numpy.where(greatest, greatest, steps)).astype(numpy.float32)
        whole = numpy.rint(self.weights * scales[:, None]).clip(-127, 127).astype(numpy.int8).tobytes()
        whole += bytes(-len(whole) % 4)
        parts = [numpy.uint32(BYTES).tobytes(), whole, self.bias, scales.tobytes(), numpy.float32(scale).tobytes()]
        term = 1 if self.kind == "ConvolutionDepthWise" else 2
        if self.following is not None:
            term += REQUANTISES
            parts.append(numpy.float32(self.following).tobytes())
        return self.line([f"{TERM}={term}"]), b"".join(parts)

    def line(self, more=()):
        names = [*self.inputs, *self.outputs]
        return " ".join([self.kind, self.name, str(len(self.inputs)), str(len(self.outputs)), *names, *self.words, *more])


def ranges(source, names, side):
    """The greatest magnitude of every blob over pictures of noise."""
    net = ncnn.Net()
    net.opt.lightmode = False
    net.load_param(str(source))
    net.load_model(str(source.with_suffix(".bin")))
    greatest = dict.fromkeys(names, 0.0)
    for seed in range(PICTURES):
        picture = numpy.random.default_rng(seed).uniform(-2, 2, (3, side, side)).astype(numpy.float32)
        extractor = net.create_extractor()
        extractor.input("in0", ncnn.Mat(picture))
        for name in names:
            found = numpy.abs(numpy.array(extractor.extract(name)[1])).max() if name != "in0" else numpy.abs(picture).max()
            greatest[name] = max(greatest[name], float(found))
    return greatest


def chain(layers, scales):
    """Says to each convolution that other ones read, and nobody else, by what scale they do."""
    readers = {name: layer for layer in layers for name in layer.inputs}
    for layer in layers:
        if layer.kind not in CONVOLUTIONS:
            continue
        reader = readers.get(layer.outputs[0])
        names = reader.outputs if reader is not None and reader.kind == "Split" else layer.outputs
        following = [readers.get(name) for name in names]
        if all(each is not None and each.kind in CONVOLUTIONS for each in following):
            layer.following = scales[following[0].name]


def quantise(source, target, side=224):
    head, counts, *lines = source.read_text().splitlines()
    layers = [Layer(line) for line in lines]
    weighted = [layer for layer in layers if layer.has_weights]
    with source.with_suffix(".bin").open("rb") as stream:
        for layer in weighted:
            layer.read(stream)
        if stream.read(1):
            raise ValueError(f"{source}: weights of layers that are not quantised")
    greatest = ranges(source, sorted({layer.inputs[0] for layer in weighted}), side)
    scales = {layer.name: 127 / max(greatest[layer.inputs[0]], 1e-9) for layer in weighted}
    chain(layers, scales)
    written = [layer.quantised(scales[layer.name]) if layer.has_weights else (layer.line(), b"") for layer in layers]
    target.write_text("\n".join([head, counts, *(line for line, _ in written)]) + "\n")
    target.with_suffix(".bin").write_bytes(b"".join(weights for _, weights in written))


if __name__ == "__main__":
    quantise(*map(Path, sys.argv[1:3]))
