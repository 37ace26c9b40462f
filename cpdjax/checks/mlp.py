"""Multilayer perceptrons as probes, hundreds trained at once under vmap."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from cpdjax.kernel.moments import matmul
from cpdjax.machine.programs import compiled


class Network(NamedTuple):
    """Hold the weights of a network d → h → h → 1 with GELU."""

    w1: Float[Array, "feature hidden"]
    b1: Float[Array, " hidden"]
    w2: Float[Array, "hidden hidden"]
    b2: Float[Array, " hidden"]
    w3: Float[Array, " hidden"]
    b3: Float[Array, ""]


class Training(NamedTuple):
    """Hold how a network is trained: AdamW on the squared error, learning rate decayed to zero."""

    hidden: int = 64
    """The width of the two hidden layers."""
    epochs: int = 40
    batch_size: int = 128
    peak_learning_rate: float = 3e-3
    """The learning rate of the first step; a cosine takes it to zero."""
    weight_decay: float = 1e-2


TRAINING = Training()


def predict(
    x: Float[np.ndarray, "case train feature"],
    y: Float[np.ndarray, "case train target"],
    held_out: Float[np.ndarray, "case row feature"],
    *,
    seeds: int = 3,
    training: Training = TRAINING,
    dtype: str = "float32",
) -> Float[np.ndarray, "case seed row target"]:
    """Return held-out predictions of one network for each case, seed and target, trained at once.

    Features and targets must have unit variance. All networks see the same batches of rows. A
    network depends on the data of its case, its target and its seed alone, not on the networks
    trained beside it.

    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(2, 200, 3))
    >>> found = predict(x, x[..., :1] ** 2, x[:, :50], seeds=2)
    >>> found.shape, bool(np.corrcoef(found[0, 0, :, 0], x[0, :50, 0] ** 2)[0, 1] > 0.8)
    ((2, 2, 50, 1), True)
    """
    rows = x.shape[1]
    batches = jnp.asarray(_batches(rows, training))
    arrays = (jnp.asarray(a, dtype) for a in (x, np.swapaxes(y, 1, 2), held_out))
    # (case, seed, target, row) → (case, seed, row, target)
    found = _predict_all(*arrays, jnp.arange(seeds), batches, training=training)
    return np.asarray(found, np.float64).swapaxes(2, 3)


def predict_one(
    x: Float[Array, "train feature"],
    y: Float[Array, " train"],
    held_out: Float[Array, "row feature"],
    seed: Int[Array, ""],
    batches: Int[Array, "step batch"],
    training: Training,
) -> Float[Array, " row"]:
    """Train and apply one network; `predict` maps this over cases, seeds and targets."""
    import optax  # for the checks that train networks, and no others

    network = _initial(seed, x.shape[1], training.hidden, x.dtype)
    schedule = optax.cosine_decay_schedule(training.peak_learning_rate, len(batches))
    optimiser = optax.adamw(schedule, weight_decay=training.weight_decay)

    def loss(network: Network, rows: Array) -> Array:
        return jnp.square(_apply(network, x[rows]) - y[rows]).mean()

    def step(carry: tuple[Network, Any], rows: Array) -> tuple:
        network, state = carry
        updates, state = optimiser.update(jax.grad(loss)(network, rows), state, network)
        return (optax.apply_updates(network, updates), state), None

    with jax.numpy_dtype_promotion("standard"):  # optax counts its steps in whole numbers
        (network, _), _ = jax.lax.scan(step, (network, optimiser.init(network)), batches)
    return _apply(network, held_out)


@partial(compiled, static_argnames=("training",))
def _predict_all(
    x: Array, y: Array, held_out: Array, seeds: Array, batches: Array, *, training: Training
) -> Float[Array, "case seed target row"]:
    one = partial(predict_one, batches=batches, training=training)
    per_target = jax.vmap(one, (None, 0, None, None))
    per_seed = jax.vmap(per_target, (None, None, None, 0))
    return jax.vmap(per_seed, (0, 0, 0, None))(x, y, held_out, seeds)


def _apply(network: Network, x: Float[Array, "row feature"]) -> Float[Array, " row"]:
    hidden = jax.nn.gelu(matmul(x, network.w1) + network.b1[None])
    hidden = jax.nn.gelu(matmul(hidden, network.w2) + network.b2[None])
    return matmul(hidden, network.w3) + network.b3


def _initial(seed: Array, features: int, hidden: int, dtype: jnp.dtype) -> Network:
    keys = jax.random.split(jax.random.key(seed), 3)
    shapes = ((features, hidden), (hidden, hidden), (hidden,))
    w1, w2, w3 = (
        jax.random.normal(key, shape, dtype) * np.sqrt(2 / shape[0]).astype(dtype)
        for key, shape in zip(keys, shapes, strict=True)
    )
    zero = jnp.zeros((hidden,), dtype)
    return Network(w1, zero, w2, zero, w3, jnp.zeros((), dtype))


def _batches(rows: int, training: Training) -> Int[np.ndarray, "step batch"]:
    """Permute the rows anew for every epoch and cut them into equal batches."""
    size = min(training.batch_size, rows)
    steps = rows // size
    rng = np.random.default_rng(0)
    epochs = [rng.permutation(rows)[: steps * size] for _ in range(training.epochs)]
    return np.concatenate(epochs).reshape(-1, size).astype(np.int32)
