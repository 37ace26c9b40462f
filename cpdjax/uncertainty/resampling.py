"""Share what permutation tests and the bootstrap need: random orders, p-values, calls in chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from cpdjax.errors import InputError
from cpdjax.kernel.options import Options
from cpdjax.machine.devices import full_call, local_mesh, put_shares, put_whole, spread
from cpdjax.machine.precision import precision
from cpdjax.machine.programs import compiled
from cpdjax.machine.threads import one_blas_thread
from cpdjax.machine.tracing import any_traced
from cpdjax.probes.arguments import Arguments
from cpdjax.probes.folds import Layout
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


def scores_of_copies(
    kernel: Callable[..., Array],
    arrays: Iterable[Any],
    order: Int[np.ndarray, "copy row"],
    layout: Layout,
    arguments: Arguments,
) -> Float[np.ndarray, "copy *score"]:
    """Score all copies of the targets, in as few calls as memory allows, on all devices.

    Args:
        kernel: takes the rows of `order` that make some of the copies, the arrays, and the index
            and rank of the layout's one repeat.
    """
    mesh, dtype = local_mesh(), arguments.dtype
    step = full_call(len(order), max(_CHUNK // arguments.targets.size, 1), mesh)
    # The last call is filled up with copies from the beginning, whose scores are dropped.
    calls = -(-len(order) // step)
    parts = np.resize(order, (calls, step, order.shape[1]))
    with precision(dtype), one_blas_thread():
        given = [jnp.asarray(a, dtype) for a in arrays]
        whole = put_whole((*given, layout.index[0], layout.rank[0]), mesh)
        run = partial(_spread_out, mesh=mesh, kernel=kernel, options=arguments.options)
        found = [jax.device_get(run(put_shares(part, mesh), *whole)) for part in parts]
    return np.concatenate(found)[: len(order)]


@partial(compiled, static_argnames=("mesh", "kernel", "options"))
def _spread_out(
    order: Array, *whole: Array, mesh: Mesh, kernel: Any, options: Options
) -> Float[Array, "copy *score"]:
    """Return the scores of the copies that `order` makes, each device those of its share."""
    scores: Array = spread(partial(kernel, options=options), mesh, split=1)(order, *whole)
    return scores


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
