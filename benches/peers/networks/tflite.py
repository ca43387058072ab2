"""Turns the ONNX classifiers of these benches into TensorFlow Lite models, without TensorFlow: the same weights, channels
last, activations fused and hard-swish spelt as the converters of PyTorch and TensorFlow do it. It knows the operators that
these networks are made of and refuses everything else. The schema's classes come with ai-edge-litert; the operators'
numbers are those of the TensorFlow Lite schema.

    pip install onnx ai-edge-litert
    benches/peers/networks/tflite.py network.onnx network.tflite
"""

import sys
from pathlib import Path

import flatbuffers
import numpy
import onnx
from ai_edge_litert import schema_py_generated as schema
from onnx import helper, numpy_helper

IDENTIFIER = b"TFL3"
SAME, VALID = schema.Padding.SAME, schema.Padding.VALID
NONE, RELU, RELU6 = (getattr(schema.ActivationFunctionType, name) for name in ("NONE", "RELU", "RELU6"))


class Lite:
    """A model under construction: pictures are [1, rows, columns, channels], vectors [1, length]."""

    def __init__(self):
        self.model = schema.ModelT()
        self.model.version, self.model.description = 3, "margay-benches"
        self.model.buffers, self.model.operatorCodes = [schema.BufferT()], []
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.model.subgraphs = [self.graph]
        self.codes = {}

    def tensor(self, shape, values=None, kind=schema.TensorType.FLOAT32):
        tensor = schema.TensorT()
        tensor.shape, tensor.type, tensor.name = [int(axis) for axis in shape], kind, f"t{len(self.graph.tensors)}"
        tensor.buffer = 0
        if values is not None:
            buffer = schema.BufferT()
            buffer.data = numpy.frombuffer(numpy.ascontiguousarray(values).tobytes(), numpy.uint8)
            tensor.buffer = len(self.model.buffers)
            self.model.buffers.append(buffer)
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def constant(self, values):
        values = numpy.asarray(values)
        kind = schema.TensorType.INT32 if values.dtype.kind == "i" else schema.TensorType.FLOAT32
        return self.tensor(values.shape, values.astype(numpy.int32 if values.dtype.kind == "i" else numpy.float32), kind)

    def shape(self, tensor):
        return self.graph.tensors[tensor].shape

    def operator(self, name, inputs, shape, options=None, **settings):
        code = getattr(schema.BuiltinOperator, name)
        if code not in self.codes:
            entry = schema.OperatorCodeT()
            entry.builtinCode, entry.deprecatedBuiltinCode, entry.version = code, min(code, 127), 1
            self.codes[code] = len(self.model.operatorCodes)
            self.model.operatorCodes.append(entry)
        operator = schema.OperatorT()
        operator.opcodeIndex, operator.inputs = self.codes[code], inputs
        operator.outputs = [self.tensor(shape)]
        if options is not None:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, options)
            operator.builtinOptions = getattr(schema, options + "T")()
            for key, value in settings.items():
                setattr(operator.builtinOptions, key, value)
        self.graph.operators.append(operator)
        return operator.outputs[0]

    def bytes(self):
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(self.model.Pack(builder), IDENTIFIER)
        return bytes(builder.Output())


class Converter:
    def __init__(self, model):
        graph = model.graph
        self.lite, self.nodes = Lite(), list(graph.node)
        self.constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self.readers = {}
        for node in self.nodes:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)
        picture = next(value for value in graph.input if value.name not in self.constants)
        _, channels, rows, columns = (axis.dim_value for axis in picture.type.tensor_type.shape.dim)
        self.output = graph.output[0].name
        self.tensors = {picture.name: self.lite.tensor([1, rows, columns, channels])}
        self.lite.graph.inputs = [self.tensors[picture.name]]
        self.done = set()

    def convert(self):
        for node in self.nodes:
            if node.output[0] not in self.tensors and id(node) not in self.done:
                handler = getattr(self, node.op_type.lower(), None)
                if handler is None:
                    raise ValueError(f"{node.op_type} is not among the operators that are known")
                handler(node, {a.name: helper.get_attribute_value(a) for a in node.attribute})
        self.lite.graph.outputs = [self.tensors[self.output]]
        return self.lite.bytes()

    def only_reader(self, name, *kinds):
        readers = self.readers.get(name, [])
        return readers[0] if len(readers) == 1 and readers[0].op_type in kinds and name != self.output else None

    def activation(self, node):
        """The activation that a node can do by itself, and the name under which its result is known then."""
        reader = self.only_reader(node.output[0], "Relu", "Clip")
        if reader is not None and reader.op_type == "Relu":
            self.done.add(id(reader))
            return RELU, reader.output[0]
        if reader is not None and [float(self.constants[name]) for name in reader.input[1:]] == [0.0, 6.0]:
            self.done.add(id(reader))
            return RELU6, reader.output[0]
        return NONE, node.output[0]

    def padded(self, tensor, kernel, strides, pads):
        """The tensor, padded where no rule of TensorFlow says the same, and the rule."""
        if not any(pads):
            return tensor, VALID
        if strides == [1, 1] and pads == [k // 2 for k in kernel] * 2:
            return tensor, SAME
        _, rows, columns, channels = self.lite.shape(tensor)
        margins = self.lite.constant(numpy.array([[0, 0], [pads[0], pads[2]], [pads[1], pads[3]], [0, 0]]))
        shape = [1, rows + pads[0] + pads[2], columns + pads[1] + pads[3], channels]
        return self.lite.operator("PAD", [tensor, margins], shape, "PadOptions"), VALID

    def conv(self, node, attributes):
        weights, bias = (self.constants[name] for name in node.input[1:])
        kernel, strides = list(weights.shape[2:]), list(attributes.get("strides", [1, 1]))
        if list(attributes.get("dilations", [1, 1])) != [1, 1]:
            raise ValueError("dilated convolutions are not known")
        tensor = self.tensors[node.input[0]]
        channels, groups = self.lite.shape(tensor)[3], attributes.get("group", 1)
        pads = list(attributes.get("pads", [0] * 4))
        sides = [(side + pads[at] + pads[at + 2] - kernel[at]) // strides[at] + 1
                 for at, side in enumerate(self.lite.shape(tensor)[1:3])]
        tensor, padding = self.padded(tensor, kernel, strides, pads)
        activation, name = self.activation(node)
        settings = {"padding": padding, "strideH": strides[0], "strideW": strides[1], "fusedActivationFunction": activation,
                    "dilationHFactor": 1, "dilationWFactor": 1}
        shape = [1, *sides, weights.shape[0]]
        if groups == 1:
            kernels = self.lite.constant(weights.transpose(0, 2, 3, 1))
            inputs, kind = [tensor, kernels, self.lite.constant(bias)], ("CONV_2D", "Conv2DOptions")
        elif groups == channels == weights.shape[0]:
            kernels = self.lite.constant(weights.transpose(1, 2, 3, 0))
            inputs, kind = [tensor, kernels, self.lite.constant(bias)], ("DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions")
            settings["depthMultiplier"] = 1
        else:
            raise ValueError("grouped convolutions are not known")
        self.tensors[name] = self.lite.operator(kind[0], inputs, shape, kind[1], **settings)

    def gemm(self, node, attributes):
        weights, bias = (self.constants[name] for name in node.input[1:])
        weights = weights if attributes.get("transB", 0) else weights.T
        activation, name = self.activation(node)
        inputs = [self.tensors[node.input[0]], self.lite.constant(weights), self.lite.constant(bias)]
        self.tensors[name] = self.lite.operator("FULLY_CONNECTED", inputs, [1, weights.shape[0]], "FullyConnectedOptions",
                                                fusedActivationFunction=activation)

    def relu(self, node, _):
        tensor = self.tensors[node.input[0]]
        self.tensors[node.output[0]] = self.lite.operator("RELU", [tensor], self.lite.shape(tensor))

    def sigmoid(self, node, _):
        tensor = self.tensors[node.input[0]]
        self.tensors[node.output[0]] = self.lite.operator("LOGISTIC", [tensor], self.lite.shape(tensor))

    def hardsigmoid(self, node, attributes):
        if abs(attributes.get("alpha", 0.2) - 1 / 6) > 1e-6 or attributes.get("beta", 0.5) != 0.5:
            raise ValueError("this hard sigmoid is not known")
        tensor = self.tensors[node.input[0]]
        shape = self.lite.shape(tensor)
        product = self.only_reader(node.output[0], "Mul")
        if product is not None and node.input[0] in product.input:
            self.tensors[product.output[0]] = self.lite.operator("HARD_SWISH", [tensor], shape)
            return
        # min(max(x + 3, 0), 6) / 6
        raised = self.lite.operator("ADD", [tensor, self.lite.constant(numpy.float32([3]))], shape, "AddOptions",
                                    fusedActivationFunction=RELU6)
        self.tensors[node.output[0]] = self.lite.operator(
            "MUL", [raised, self.lite.constant(numpy.float32([1 / 6]))], shape, "MulOptions")

    def add(self, node, _):
        inputs = [self.tensors[name] for name in node.input]
        activation, name = self.activation(node)
        self.tensors[name] = self.lite.operator("ADD", inputs, self.lite.shape(inputs[0]), "AddOptions",
                                                fusedActivationFunction=activation)

    def mul(self, node, _):
        inputs = [self.tensors[name] for name in node.input]
        shape = max((self.lite.shape(tensor) for tensor in inputs), key=lambda axes: int(numpy.prod(axes)))
        self.tensors[node.output[0]] = self.lite.operator("MUL", inputs, shape, "MulOptions")

    def concat(self, node, _):
        inputs = [self.tensors[name] for name in node.input]
        shape = [*self.lite.shape(inputs[0])[:3], sum(self.lite.shape(tensor)[3] for tensor in inputs)]
        self.tensors[node.output[0]] = self.lite.operator("CONCATENATION", inputs, shape, "ConcatenationOptions", axis=3)

    def maxpool(self, node, attributes):
        kernel, strides = list(attributes["kernel_shape"]), list(attributes.get("strides", [1, 1]))
        tensor, pads = self.tensors[node.input[0]], list(attributes.get("pads", [0] * 4))
        # Zeros are no smaller than anything behind a rectifier.
        tensor, padding = self.padded(tensor, kernel, strides, pads)
        _, rows, columns, channels = self.lite.shape(tensor)
        spans = [(side - k, stride) for side, k, stride in zip((rows, columns), kernel, strides)]
        if attributes.get("ceil_mode", 0) and any(span % stride for span, stride in spans):
            raise ValueError("poolings that round up are not known")
        shape = [1, *(span // stride + 1 for span, stride in spans), channels]
        self.tensors[node.output[0]] = self.lite.operator(
            "MAX_POOL_2D", [tensor], shape, "Pool2DOptions", padding=padding, strideH=strides[0], strideW=strides[1],
            filterHeight=kernel[0], filterWidth=kernel[1], fusedActivationFunction=NONE)

    def globalaveragepool(self, node, _):
        tensor = self.tensors[node.input[0]]
        shape = [1, 1, 1, self.lite.shape(tensor)[3]]
        axes = self.lite.constant(numpy.array([1, 2]))
        self.tensors[node.output[0]] = self.lite.operator("MEAN", [tensor, axes], shape, "ReducerOptions", keepDims=True)

    def flatten(self, node, _):
        tensor = self.tensors[node.input[0]]
        shape = self.lite.shape(tensor)
        if shape[1:3] != [1, 1]:
            raise ValueError("only a picture of one pixel is flattened")
        wanted = self.lite.constant(numpy.array([1, shape[3]]))
        self.tensors[node.output[0]] = self.lite.operator("RESHAPE", [tensor, wanted], [1, shape[3]], "ReshapeOptions",
                                                          newShape=[1, shape[3]])


def convert(source, target):
    """Writes the TensorFlow Lite model of an ONNX classifier; ValueError where an operator is not known."""
    Path(target).write_bytes(Converter(onnx.load(source)).convert())


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    convert(sys.argv[1], sys.argv[2])
