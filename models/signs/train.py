"""Trains the network on a rendered set and writes its weights.

    python train.py /tmp/signs/training.npz /tmp/signs/validation.npz /tmp/signs/weights.npz

Seeds are fixed. With the pinned packages, one thread and the same kind of
processor a second run gives the same weights; elsewhere the last bits differ.
"""

import argparse
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

import network
import preprocess

SEED = 11
EPOCHS = 10
BATCH = 64
LEARNING_RATE = 2.5e-3
WEIGHT_DECAY = 2e-3
SMOOTHING = 0.05
"""Share of the target spread over all classes, which keeps probabilities modest."""
SHIFT = 5
"""Largest move of a frame along each axis, in pixels of the 96 x 96 input."""


def augmented(squares: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A batch as network input, each frame moved, and its light and colour changed."""
    padded = np.pad(squares, ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)), mode="edge")
    moved = np.empty_like(squares)
    for i, (top, left) in enumerate(rng.integers(0, 2 * SHIFT + 1, (len(squares), 2))):
        moved[i] = padded[i, top : top + preprocess.SIZE, left : left + preprocess.SIZE]
    x = preprocess.normalised(moved)
    gain = rng.uniform(0.75, 1.25, (len(x), 1, 1, 1)) * rng.uniform(0.9, 1.1, (len(x), 1, 1, 3))
    offset = rng.uniform(-0.3, 0.3, (len(x), 1, 1, 1))
    return x * gain.astype(np.float32) + offset.astype(np.float32)


@partial(jax.jit, static_argnums=0)
def step(optimiser, parameters, statistics, state, x, labels):
    """One step of training: the new parameters, statistics and optimiser state, and the loss."""

    def loss_of(parameters):
        logits, moved = network.train_forward(parameters, statistics, x)
        target = optax.smooth_labels(jax.nn.one_hot(labels, logits.shape[-1]), SMOOTHING)
        return optax.softmax_cross_entropy(logits, target).mean(), moved

    (loss, moved), gradient = jax.value_and_grad(loss_of, has_aux=True)(parameters)
    updates, state = optimiser.update(gradient, state, parameters)
    return optax.apply_updates(parameters, updates), moved, state, loss


def accuracy(parameters, statistics, squares: np.ndarray, labels: np.ndarray) -> float:
    """Share of the frames whose highest logit is the right one."""
    logits = jax.jit(network.forward)
    right = 0
    for start in range(0, len(squares), BATCH):
        part = slice(start, start + BATCH)
        answer = logits(parameters, statistics, jnp.asarray(preprocess.normalised(squares[part])))
        right += int((np.asarray(answer).argmax(1) == labels[part]).sum())
    return right / len(squares)


def train(training: dict[str, np.ndarray], validation: dict[str, np.ndarray]):
    """The parameters and running statistics after the last epoch."""
    rng = np.random.default_rng(SEED)
    parameters, statistics = network.initial(SEED)
    steps = len(training["labels"]) // BATCH
    schedule = optax.warmup_cosine_decay_schedule(0.0, LEARNING_RATE, steps // 2, EPOCHS * steps, 0.0)
    optimiser = optax.adamw(schedule, weight_decay=WEIGHT_DECAY)
    state = optimiser.init(parameters)
    for epoch in range(EPOCHS):
        order, losses = rng.permutation(len(training["labels"])), []
        for start in range(0, steps * BATCH, BATCH):
            rows = np.sort(order[start : start + BATCH])
            x = jnp.asarray(augmented(training["squares"][rows], rng))
            labels = jnp.asarray(training["labels"][rows])
            parameters, statistics, state, loss = step(optimiser, parameters, statistics, state, x, labels)
            losses.append(loss)
        score = accuracy(parameters, statistics, **validation)
        print(
            f"epoch {epoch + 1}: loss {np.mean(losses):.3f}, validation {score:.4f}, {time.process_time():.0f} s CPU",
            flush=True,
        )
    return parameters, statistics


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    for name in ("training", "validation", "weights"):
        parser.add_argument(name, type=Path)
    arguments = parser.parse_args()
    sets = [dict(np.load(file)) for file in (arguments.training, arguments.validation)]
    parameters, statistics = train(*sets)
    flat = {
        f"{layer}.{name}": np.asarray(value)
        for tree in (parameters, statistics)
        for layer, values in tree.items()
        for name, value in values.items()
    }
    np.savez(arguments.weights, **flat)


if __name__ == "__main__":
    main()
