"""Share what permutation tests and the bootstrap need: random orders, p-values, calls in chunks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from cpdjax.errors import InputError
from cpdjax.machine.devices import full_call, put_shares
from cpdjax.probes.tracing import any_traced
from cpdjax.validation import check_rows

#: The targets of one call hold at most this many numbers on each device: 32 MB of float64. More
#: would leave the caches of a CPU, and cost memory for nothing.
_CHUNK = 2**22


def p_values(
    observed: Float[np.ndarray, "*score"], null: Float[np.ndarray, "permutation *score"]
) -> Float[np.ndarray, "*score"]:
    """Return (1 + #{null ≥ observed}) / (1 + permutations), which counts the observed order too.

    Scores that agree in half of their digits count as equal.
    """
    rounding = np.sqrt(np.finfo(null.dtype).eps) * (1 + np.abs(observed))
    at_least = ~(null < observed - rounding)  # a null that is NaN counts against significance
    return np.where(np.isnan(observed), np.nan, (1 + at_least.sum(0)) / (1 + len(null)))


def refuse_traced(*arrays: Any) -> None:
    """Refuse arrays that have no values yet.

    Raises:
        InputError: for an array that JAX traces.
    """
    if any_traced(*arrays):
        raise InputError(
            "resampling draws with NumPy and cannot be traced: call it outside jit, vmap and grad"
        )


def in_chunks(
    run: Callable[[Array], Array],
    order: Int[np.ndarray, "copy row"],
    numbers: int,
    mesh: Mesh,
) -> Float[np.ndarray, "copy *score"]:
    """Run all copies of the targets, in as few calls as memory allows, on all devices of a mesh.

    Args:
        run: scores the copies that some rows of `order` make; the rows are split over the devices.
        numbers: how many numbers one copy of the targets holds.
    """
    step = full_call(len(order), max(_CHUNK // numbers, 1), mesh)
    # The last call is filled up with copies from the beginning, whose scores are dropped.
    calls = -(-len(order) // step)
    parts = np.resize(order, (calls, step, order.shape[1]))
    found = [jax.device_get(run(put_shares(part, mesh))) for part in parts]
    return np.concatenate(found)[: len(order)]


def orders(n: int, permutations: int, groups: Any, seed: int) -> Int[np.ndarray, "copy molecule"]:
    """Return the identity, then random permutations, within groups where there are some."""
    check_rows("all permutations", (1 + permutations) * n)
    rng = np.random.default_rng((seed, 1))
    group = group_ids(groups, n)
    places = np.argsort(group, kind="stable")
    order = np.empty((1 + permutations, n), np.int32)
    order[0] = np.arange(n)
    for copy in order[1:]:  # one by one: the random numbers take twice the memory of an order
        copy[places] = np.argsort(group + rng.random(n))
    return order


def group_ids(groups: Any, n: int) -> Int[np.ndarray, " molecule"]:
    """Return groups as numbers from 0; without groups, all molecules are in one.

    Raises:
        InputError: there is not one label for each molecule.
    """
    if groups is None:
        return np.zeros(n, np.int64)
    labels = np.asarray(groups)
    if labels.shape != (n,):
        raise InputError(
            f"groups must be one label for each of {n} molecules, got shape {labels.shape}"
        )
    return np.unique(labels, return_inverse=True)[1]
