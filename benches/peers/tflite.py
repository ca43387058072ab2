"""From ONNX to LiteRT's format, for the operators that classifiers of floats are made of: channels last, activations fused
into the convolutions before them, padding as an operator of its own where LiteRT's two rules do not give it, as its own
converters do.

    tflite.convert(Path("net.onnx"), Path("net.tflite"))
"""

import flatbuffers
import numpy
import onnx
from ai_edge_litert import schema_py_generated as schema
from onnx import numpy_helper

FUSED = {"Relu": schema.ActivationFunctionType.RELU, "Clip": schema.ActivationFunctionType.RELU6}


class Writer:
    """A LiteRT model under construction: tensors by name, operators in order."""

    def __init__(self):
        self.model, self.graph = schema.ModelT(), schema.SubGraphT()
        self.model.version, self.model.operatorCodes, self.model.buffers = 3, [], [schema.BufferT()]
        self.graph.tensors, self.graph.operators, self.model.subgraphs = [], [], [self.graph]
        self.codes, self.places, self.shapes = {}, {}, {}

    def tensor(self, name, shape, values=None, kind=schema.TensorType.FLOAT32):
        tensor, buffer = schema.TensorT(), schema.BufferT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = name, list(shape), kind, 0
        if values is not None:
            buffer.data = numpy.frombuffer(numpy.ascontiguousarray(values).tobytes(), numpy.uint8)
            tensor.buffer = len(self.model.buffers)
            self.model.buffers.append(buffer)
        self.places[name], self.shapes[name] = len(self.graph.tensors), list(shape)
        self.graph.tensors.append(tensor)
        return name

    def constant(self, name, values, kind=schema.TensorType.FLOAT32):
        return name if name in self.places else self.tensor(name, values.shape, values, kind)

    def integers(self, name, values):
        return self.constant(name, numpy.asarray(values, numpy.int32), schema.TensorType.INT32)

    def operator(self, kind, inputs, name, shape, options=None, **fields):
        """Adds an operator of `schema.BuiltinOperator` with a table of options, and gives the name of its output."""
        operator, code = schema.OperatorT(), getattr(schema.BuiltinOperator, kind)
        if code not in self.codes:
            entry = schema.OperatorCodeT()
            entry.builtinCode, entry.deprecatedBuiltinCode, entry.version = code, min(code, 127), 1
            self.codes[code] = len(self.model.operatorCodes)
            self.model.operatorCodes.append(entry)
        operator.opcodeIndex = self.codes[code]
        self.tensor(name, shape)
        operator.inputs = [self.places[each] for each in inputs]
        operator.outputs = [self.places[name]]
        if options:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, options)
            operator.builtinOptions = getattr(schema, options + "T")()
            for field, value in fields.items():
                setattr(operator.builtinOptions, field, value)
        self.graph.operators.append(operator)
        return name

    def signature(self, names):
        """Tensors under the names by which LiteRT's quantiser feeds them."""
        maps = [schema.TensorMapT() for _ in names]
        for each, name in zip(maps, names):
            each.name, each.tensorIndex = name, self.places[name]
        return maps

    def bytes(self, inputs, outputs):
        self.graph.inputs = [self.places[name] for name in inputs]
        self.graph.outputs = [self.places[name] for name in outputs]
        signature = schema.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = "serving_default", 0
        signature.inputs, signature.outputs = self.signature(inputs), self.signature(outputs)
        self.model.signatureDefs = [signature]
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


class Conversion:
    """One ONNX graph on its way. Pictures are [1, rows, columns, channels] under ONNX's names."""

    def __init__(self, graph):
        self.graph, self.writer = graph, Writer()
        self.constants = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
        self.readers = {}
        for node in graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)
        self.done = set()

    def shape(self, name):
        return self.writer.shapes[name]

    def sole_reader(self, name, *kinds):
        readers = self.readers.get(name, [])
        return readers[0] if len(readers) == 1 and readers[0].op_type in kinds else None

    def fused(self, node):
        """The activation that can be a part of an operator, and the name of what then comes out."""
        reader = self.sole_reader(node.output[0], *FUSED)
        if reader is None or (reader.op_type == "Clip" and self.bounds(reader) != (0.0, 6.0)):
            return schema.ActivationFunctionType.NONE, node.output[0]
        self.done.add(id(reader))
        return FUSED[reader.op_type], reader.output[0]

    def bounds(self, node):
        return tuple(self.constants[name].item() for name in node.input[1:3])

    def padded(self, node, name, attributes, side):
        """The input with what SAME does not add, and the rule for the rest."""
        kernel, stride = attributes["kernel_shape"], attributes.get("strides", [1, 1])
        top, left, bottom, right = attributes.get("pads", [0] * 4)
        if not any((top, left, bottom, right)):
            return name, schema.Padding.VALID
        if stride == [1, 1] and [top, left, bottom, right] == [k // 2 for k in kernel] * 2 and all(k % 2 for k in kernel):
            return name, schema.Padding.SAME
        pads = self.writer.integers(f"{node.name}.pads", [[0, 0], [top, bottom], [left, right], [0, 0]])
        shape = self.shape(name)
        padded = [1, shape[1] + top + bottom, shape[2] + left + right, shape[3]]
        return self.writer.operator("PAD", [name, pads], f"{node.name}.padded", padded, "PadOptions"), schema.Padding.VALID

    def convolution(self, node, attributes):
        x, weights = node.input[0], self.constants[node.input[1]]
        bias = self.constants[node.input[2]] if len(node.input) > 2 else numpy.zeros(len(weights), numpy.float32)
        groups, channels = attributes.get("group", 1), self.shape(node.input[0])[3]
        attributes.setdefault("kernel_shape", list(weights.shape[2:]))
        strides, pads = attributes.get("strides", [1, 1]), attributes.get("pads", [0] * 4)
        sides = [
            (self.shape(x)[1 + axis] + pads[axis] + pads[2 + axis] - weights.shape[2 + axis]) // strides[axis] + 1
            for axis in (0, 1)
        ]
        x, padding = self.padded(node, x, attributes, sides)
        activation, output = self.fused(node)
        is_depthwise = groups == channels and groups > 1
        if groups not in (1, channels):
            raise ValueError(f"{node.name}: groups of channels")
        order = (1, 2, 3, 0) if is_depthwise else (0, 2, 3, 1)
        inputs = [
            x,
            self.writer.constant(f"{node.name}.w", weights.transpose(order)),
            self.writer.constant(f"{node.name}.b", bias),
        ]
        fields = {"strideH": strides[0], "strideW": strides[1], "padding": padding, "fusedActivationFunction": activation}
        fields |= {"dilationHFactor": 1, "dilationWFactor": 1} | ({"depthMultiplier": 1} if is_depthwise else {})
        kind, options = ("DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions") if is_depthwise else ("CONV_2D", "Conv2DOptions")
        self.writer.operator(kind, inputs, output, [1, *sides, len(weights)], options, **fields)

    def fully_connected(self, node, attributes):
        weights = self.constants[node.input[1]]
        weights = weights if attributes.get("transB", 0) else weights.T
        inputs = [node.input[0], self.writer.constant(f"{node.name}.w", weights)]
        inputs.append(self.writer.constant(f"{node.name}.b", self.constants[node.input[2]]))
        activation, output = self.fused(node)
        options = {"fusedActivationFunction": activation, "keepNumDims": False}
        shape = [1, len(weights)]
        self.writer.operator("FULLY_CONNECTED", inputs, output, shape, "FullyConnectedOptions", **options)

    def binary(self, node, kind, options):
        activation, output = self.fused(node)
        shape = max((self.shape(name) for name in node.input), key=numpy.prod)
        self.writer.operator(kind, list(node.input), output, shape, options, fusedActivationFunction=activation)

    def hard_sigmoid(self, node):
        """x · hard_sigmoid(x) is an operator; the gate by itself is a sum, a clamp and a product."""
        x, gate = node.input[0], node.output[0]
        product = self.sole_reader(gate, "Mul")
        if product is not None and set(product.input) == {x, gate}:
            self.done.add(id(product))
            self.writer.operator("HARD_SWISH", [x], product.output[0], self.shape(x))
            return
        three, sixth = (numpy.asarray(value, numpy.float32) for value in (3, 1 / 6))
        names = [self.writer.constant("three", three), self.writer.constant("sixth", sixth)]
        fused = {"fusedActivationFunction": schema.ActivationFunctionType.RELU6}
        clamped = self.writer.operator("ADD", [x, names[0]], f"{gate}.6", self.shape(x), "AddOptions", **fused)
        self.writer.operator("MUL", [clamped, names[1]], gate, self.shape(x), "MulOptions")

    def node(self, node):
        attributes = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
        x, output, kind = node.input[0], node.output[0], node.op_type
        if kind == "Conv":
            self.convolution(node, attributes)
        elif kind == "Gemm":
            self.fully_connected(node, attributes)
        elif kind in ("Add", "Mul"):
            self.binary(node, kind.upper(), kind + "Options")
        elif kind == "HardSigmoid":
            self.hard_sigmoid(node)
        elif kind in ("Relu", "Clip", "Sigmoid"):
            name = {"Relu": "RELU", "Clip": "RELU6", "Sigmoid": "LOGISTIC"}[kind]
            self.writer.operator(name, [x], output, self.shape(x))
        elif kind == "MaxPool":
            self.maximum(node, attributes)
        elif kind == "GlobalAveragePool":
            axes, shape = self.writer.integers("rows and columns", [1, 2]), self.shape(x)
            self.writer.operator("MEAN", [x, axes], output, [1, 1, 1, shape[3]], "ReducerOptions", keepDims=True)
        elif kind == "Flatten" and self.shape(x)[1:3] == [1, 1]:
            shape = [1, self.shape(x)[3]]
            wanted = self.writer.integers(f"{output}.shape", shape)
            self.writer.operator("RESHAPE", [x, wanted], output, shape, "ReshapeOptions", newShape=shape)
        elif kind == "Concat":
            shape = [*self.shape(x)[:3], sum(self.shape(name)[3] for name in node.input)]
            self.writer.operator("CONCATENATION", list(node.input), output, shape, "ConcatenationOptions", axis=3)
        else:
            raise ValueError(f"{kind} is not converted")

    def maximum(self, node, attributes):
        kernel, strides, pads = attributes["kernel_shape"], attributes["strides"], attributes.get("pads", [0] * 4)
        spans = [self.shape(node.input[0])[1 + axis] + pads[axis] + pads[2 + axis] - kernel[axis] for axis in (0, 1)]
        if attributes.get("ceil_mode") and any(span % stride for span, stride in zip(spans, strides)):
            raise ValueError(f"{node.name}: windows beyond the padding")
        sides = [span // stride + 1 for span, stride in zip(spans, strides)]
        x, padding = self.padded(node, node.input[0], attributes, sides)
        if padding == schema.Padding.SAME or (x != node.input[0] and not self.follows_relu(node)):
            raise ValueError(f"{node.name}: zeros may be greater than a negative maximum")
        fields = {"strideH": strides[0], "strideW": strides[1], "filterHeight": kernel[0], "filterWidth": kernel[1]}
        shape = [1, *sides, self.shape(x)[3]]
        self.writer.operator("MAX_POOL_2D", [x], node.output[0], shape, "Pool2DOptions", padding=padding, **fields)

    def follows_relu(self, node):
        return any(each.op_type in FUSED and each.output[0] == node.input[0] for each in self.graph.node)


def convert(source, target):
    """Writes the LiteRT file of an ONNX file with one picture as input and one vector as output."""
    graph = onnx.load(source).graph
    conversion = Conversion(graph)
    given = {each.name for each in graph.initializer}
    (picture,) = [each for each in graph.input if each.name not in given]
    _, channels, height, width = [each.dim_value for each in picture.type.tensor_type.shape.dim]
    conversion.writer.tensor(picture.name, [1, height, width, channels])
    for node in graph.node:
        if not node.name:
            node.name = node.output[0]
        if id(node) not in conversion.done:
            conversion.node(node)
    target.write_bytes(conversion.writer.bytes([picture.name], [graph.output[0].name]))
