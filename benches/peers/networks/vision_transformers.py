"""Small vision transformers for export.py, spelled as PyTorch's exporter spells them at operator set 13: DeiT (Touvron et al.
2021, table 1), patches of 16 × 16, no distillation."""

import numpy

PATCH, DEPTH, OF_HEAD = 16, 12, 64


def deit_tiny(graph):
    return deit(graph, heads=3)


def deit_small(graph):
    return deit(graph, heads=6)


def deit(graph, heads):
    """Patches and a token for the class, twelve layers of attention and two products, and the class's token classified."""
    width = heads * OF_HEAD
    x = graph.conv("input", width, PATCH, PATCH, padding=0, gain=1.0)
    patches = graph.side[x] ** 2
    tokens = patches + 1
    x = graph.like("Reshape", [x, whole(graph, [1, width, patches])])
    x = graph.like("Transpose", [x], perm=[0, 2, 1])
    x = graph.like("Concat", [noise(graph, [1, 1, width]), x], axis=1)
    graph.channels[x] = width
    x = graph.add(x, noise(graph, [1, tokens, width]))
    for _ in range(DEPTH):
        x = graph.add(x, attention(graph, normalised(graph, x), [tokens, heads, width]))
        hidden = gelu(graph, product(graph, normalised(graph, x), width, 4 * width))
        x = graph.add(x, product(graph, hidden, 4 * width, width))
    first = graph.like("Gather", [normalised(graph, x), whole(graph, 0)], axis=1)
    graph.channels[first] = width
    return graph.classify(first)


def attention(graph, x, sizes):
    """Of every head: the values, as each query weighs them by its products with the keys."""
    tokens, heads, width = sizes
    x = product(graph, x, width, 3 * width)
    x = graph.like("Reshape", [x, whole(graph, [1, tokens, 3, heads, OF_HEAD])])
    x = graph.like("Transpose", [x], perm=[2, 0, 3, 1, 4])
    queries, keys, values = (graph.like("Gather", [x, whole(graph, place)], axis=0) for place in range(3))
    keys = graph.like("Transpose", [keys], perm=[0, 1, 3, 2])
    scores = graph.like("Mul", [graph.like("MatMul", [queries, keys]), number(graph, OF_HEAD**-0.5)])
    x = graph.like("MatMul", [graph.like("Softmax", [scores], axis=-1), values])
    x = graph.like("Transpose", [x], perm=[0, 2, 1, 3])
    x = graph.like("Reshape", [x, whole(graph, [1, tokens, width])])
    return product(graph, x, width, width)


def product(graph, x, inputs, outputs):
    """A fully connected layer of every token."""
    weights = graph.constant((graph.random.standard_normal((inputs, outputs)) * inputs**-0.5).astype(numpy.float32))
    return graph.like("Add", [noise(graph, [outputs]), graph.like("MatMul", [x, weights])])


def normalised(graph, x):
    """Layer normalisation, of operators that operator set 13 has."""
    mean = graph.like("ReduceMean", [x], axes=[-1])
    rest = graph.like("Sub", [x, mean])
    variance = graph.like("ReduceMean", [graph.like("Pow", [rest, number(graph, 2.0)])], axes=[-1])
    deviation = graph.like("Sqrt", [graph.like("Add", [variance, number(graph, 1e-6)])])
    width = graph.channels[x]
    scaled = graph.like("Mul", [graph.like("Div", [rest, deviation]), noise(graph, [width], 1.0)])
    return graph.like("Add", [scaled, noise(graph, [width])])


def gelu(graph, x):
    """By the error function."""
    half = graph.like("Erf", [graph.like("Div", [x, number(graph, 2**0.5)])])
    return graph.like("Mul", [graph.like("Mul", [x, graph.like("Add", [half, number(graph, 1.0)])]), number(graph, 0.5)])


def noise(graph, shape, mean=0.0):
    """A constant of small random numbers."""
    return graph.constant((mean + graph.random.standard_normal(shape) * 0.02).astype(numpy.float32))


def number(graph, value):
    return graph.constant(numpy.float32(value))


def whole(graph, values):
    """A constant of whole numbers, such as a shape."""
    return graph.constant(numpy.array(values, numpy.int64))
