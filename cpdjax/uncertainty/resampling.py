"""What permutation tests and the bootstrap share: random orders, p-values, calls in chunks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from cpdjax.errors import InputError
from cpdjax.kernel.options import Options
from cpdjax.precision import default_batch_size
from cpdjax.probes.arguments import Arguments

#: Numbers in one call's targets: 32 MB of float64, which is quick on a cache and short of memory.
_CHUNK = 2**22


def p_values(
    observed: Float[np.ndarray, "*score"], null: Float[np.ndarray, "permutation *score"]
) -> Float[np.ndarray, "*score"]:
    """(1 + #{null ≥ observed}) / (1 + permutations); ties to half of the digits count as ties."""
    rounding = np.sqrt(np.finfo(null.dtype).eps) * (1 + np.abs(observed))
    at_least = ~(null < observed - rounding)  # a null that is NaN counts against significance
    return np.where(np.isnan(observed), np.nan, (1 + at_least.sum(0)) / (1 + len(null)))


def concrete(
    X: Any, C: Any, Y: Any, alphas: Any, dtype: Any, standardize: bool = True,
    projection: str = "ols",
) -> Arguments:  # fmt: skip
    """The checked arguments of a call that cannot be traced.

    Raises:
        InputError: as `cpd`, and for traced arrays.
    """
    if any(isinstance(a, jax.core.Tracer) for a in (X, C, Y, alphas)):
        raise InputError(
            "resampling draws with NumPy and cannot be traced: call it outside jit, vmap and grad"
        )
    options = Options(standardize, batch_size=default_batch_size(), projection=projection)
    return Arguments.of(X, C, Y, alphas, dtype, options)


def in_chunks(
    run: Callable[[Array], Array], order: Int[np.ndarray, "copy row"], numbers: int
) -> Float[np.ndarray, "copy *score"]:
    """What `run` makes of every copy of the targets, so many numbers each, in calls that fit."""
    most = max(_CHUNK // numbers, 1)
    calls = -(-len(order) // most)
    step = -(-len(order) // calls)  # of equal size, so that one program does
    padded = np.concatenate([order, order[: calls * step - len(order)]])
    found = [np.asarray(run(jnp.asarray(part))) for part in padded.reshape(calls, step, -1)]
    return np.concatenate(found)[: len(order)]


def orders(n: int, permutations: int, groups: Any, seed: int) -> Int[np.ndarray, "copy molecule"]:
    """The identity, then random permutations, within groups where there are some."""
    rng = np.random.default_rng((seed, 1))
    group = group_ids(groups, n)
    places = np.argsort(group, kind="stable")
    order = np.empty((1 + permutations, n), np.int32)
    order[0] = np.arange(n)
    for copy in order[1:]:  # one by one: a draw for each needs twice the memory of its order
        copy[places] = np.argsort(group + rng.random(n))
    return order


def group_ids(groups: Any, n: int) -> Int[np.ndarray, " molecule"]:
    """Groups as numbers from 0; None: all molecules are one group.

    Raises:
        InputError: not one label a molecule.
    """
    if groups is None:
        return np.zeros(n, np.int64)
    labels = np.asarray(groups)
    if labels.shape != (n,):
        raise InputError(
            f"groups must be one label for each of {n} molecules, got shape {labels.shape}"
        )
    return np.unique(labels, return_inverse=True)[1]
