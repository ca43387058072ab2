"""Turns trained weights into the package's ONNX file, the normalisation folded into the convolutions.

    python export.py /tmp/signs/weights.npz package/signs.onnx

Opset 13; only Conv, Relu, GlobalAveragePool, Flatten and Gemm. The result is
checked against the network that was trained before it is written.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

import network
import preprocess
from labels import LABELS

TOLERANCE = 1e-3
"""Largest difference allowed between the exported logits and those of the trained network."""

Weights = dict[str, np.ndarray]


def folded(weights: Weights, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Kernel (out x in x 3 x 3) and bias of a convolution that includes its normalisation."""
    arrays = ("kernel", "gain", "bias", "mean", "variance")
    kernel, gain, bias, mean, variance = (weights[f"conv{number}.{name}"].astype(np.float64) for name in arrays)
    scale = gain / np.sqrt(variance + network.EPSILON)
    kernel = (kernel * scale).transpose(3, 2, 0, 1)
    return kernel.astype(np.float32), (bias - mean * scale).astype(np.float32)


def graph(weights: Weights) -> onnx.GraphProto:
    """The network as ONNX nodes, from `image` to `logits`."""
    nodes, constants, tip = [], [], "image"

    def constant(name: str, value: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    for number, layer in enumerate(network.LAYERS):
        kernel, bias = folded(weights, number)
        inputs = [tip, constant(f"conv{number}.kernel", kernel), constant(f"conv{number}.bias", bias)]
        nodes.append(
            helper.make_node(
                "Conv", inputs, [f"conv{number}"], kernel_shape=[3, 3], strides=[layer.stride] * 2, pads=[1, 1, 1, 1]
            )
        )
        tip = f"relu{number}"
        nodes.append(helper.make_node("Relu", [f"conv{number}"], [tip]))
    nodes.append(helper.make_node("GlobalAveragePool", [tip], ["average"]))
    nodes.append(helper.make_node("Flatten", ["average"], ["features"]))
    linear = [constant(f"linear.{name}", weights[f"linear.{name}"]) for name in ("weight", "bias")]
    nodes.append(helper.make_node("Gemm", ["features", *linear], ["logits"]))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, preprocess.SIZE, preprocess.SIZE])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, len(LABELS)])
    return helper.make_graph(nodes, "road-signs", [image], [logits], constants)


def model(weights: Weights) -> onnx.ModelProto:
    """The whole ONNX model, checked by ONNX's own rules."""
    made = helper.make_model(
        graph(weights), producer_name="margay", ir_version=8, opset_imports=[helper.make_opsetid("", 13)]
    )
    onnx.checker.check_model(made, full_check=True)
    return made


def difference(weights: Weights, made: onnx.ModelProto) -> float:
    """Largest difference of a logit between the trained network and the exported model, over random pictures."""
    trees: tuple[network.Tree, network.Tree] = ({}, {})
    for name, value in weights.items():
        layer, array = name.split(".")
        tree = trees[1] if array in ("mean", "variance") else trees[0]
        tree.setdefault(layer, {})[array] = jnp.asarray(value)
    squares = np.random.default_rng(5).integers(0, 256, (16, preprocess.SIZE, preprocess.SIZE, 3), np.uint8)
    trained = np.asarray(jax.jit(network.forward)(*trees, preprocess.normalised(squares)))
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    exported = [session.run(None, {"image": preprocess.tensor(s[None])})[0][0] for s in squares]
    return float(np.abs(np.stack(exported) - trained).max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("model", type=Path)
    arguments = parser.parse_args()
    weights = dict(np.load(arguments.weights))
    made = model(weights)
    worst = difference(weights, made)
    if worst > TOLERANCE:
        raise SystemExit(f"the exported model differs by {worst:.2g} from the trained network, more than {TOLERANCE}")
    onnx.save(made, arguments.model)
    count = sum(int(np.prod(c.dims)) for c in made.graph.initializer)
    print(f"{arguments.model}: {count} parameters, {arguments.model.stat().st_size} bytes, difference {worst:.1e}")


if __name__ == "__main__":
    main()
