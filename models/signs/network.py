"""The network: six 3 x 3 convolutions, each with batch normalisation and ReLU, a global average and a linear layer.

Written out in plain JAX. Shapes are N x H x W x C; `export` turns them round for ONNX.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from labels import LABELS

Tree = dict[str, Any]
"""Arrays by layer and name."""


class Layer(NamedTuple):
    """A convolution: how many channels it makes, and by how much it shrinks the picture."""

    channels: int
    stride: int


LAYERS = (Layer(16, 2), Layer(32, 2), Layer(48, 1), Layer(64, 2), Layer(96, 1), Layer(96, 2))

EPSILON = 1e-5
"""Added to the variance, in training and when `export` folds the normalisation away."""
_STATISTICS_KEPT = 0.95
"""Share of the running statistics that survives a step."""


def initial(seed: int) -> tuple[Tree, Tree]:
    """Fresh parameters and running statistics."""
    rng = np.random.default_rng(seed)
    parameters, statistics, inputs = {}, {}, 3
    for number, layer in enumerate(LAYERS):
        kernel = rng.normal(0, np.sqrt(2 / (9 * inputs)), (3, 3, inputs, layer.channels))
        parameters[f"conv{number}"] = {
            "kernel": jnp.asarray(kernel, jnp.float32),
            "gain": jnp.ones(layer.channels),
            "bias": jnp.zeros(layer.channels),
        }
        statistics[f"conv{number}"] = {"mean": jnp.zeros(layer.channels), "variance": jnp.ones(layer.channels)}
        inputs = layer.channels
    weight = rng.normal(0, np.sqrt(1 / inputs), (inputs, len(LABELS)))
    parameters["linear"] = {"weight": jnp.asarray(weight, jnp.float32), "bias": jnp.zeros(len(LABELS))}
    return parameters, statistics


def _convolve(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), ((1, 1), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def train_forward(parameters: Tree, statistics: Tree, x: jax.Array) -> tuple[jax.Array, Tree]:
    """Logits with the batch's own statistics, and the running statistics moved towards them."""
    moved = {}
    for number, layer in enumerate(LAYERS):
        name = f"conv{number}"
        x = _convolve(x, parameters[name]["kernel"], layer.stride)
        batch = {"mean": x.mean((0, 1, 2)), "variance": x.var((0, 1, 2))}
        moved[name] = jax.tree.map(
            lambda old, new: _STATISTICS_KEPT * old + (1 - _STATISTICS_KEPT) * new, statistics[name], batch
        )
        x = jax.nn.relu(_normalise(x, batch, parameters[name]))
    return _head(parameters, x), moved


def forward(parameters: Tree, statistics: Tree, x: jax.Array) -> jax.Array:
    """Logits, as the exported model computes them."""
    for number, layer in enumerate(LAYERS):
        name = f"conv{number}"
        x = _convolve(x, parameters[name]["kernel"], layer.stride)
        x = jax.nn.relu(_normalise(x, statistics[name], parameters[name]))
    return _head(parameters, x)


def _normalise(x: jax.Array, statistics: Tree, layer: Tree) -> jax.Array:
    scale = layer["gain"] * jax.lax.rsqrt(statistics["variance"] + EPSILON)
    return (x - statistics["mean"]) * scale + layer["bias"]


def _head(parameters: Tree, x: jax.Array) -> jax.Array:
    return x.mean((1, 2)) @ parameters["linear"]["weight"] + parameters["linear"]["bias"]
