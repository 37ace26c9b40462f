"""Find the nearest rows of every row in one space, and how near they lie in another.

Distances are Euclid's. Sums in another order would make different distances of duplicates and of
other ties, so distances are equal here where rounding alone tells them apart: from each row their
squares are whole multiples of 4e-11 of the mean square. Rows nearer than 4e-6 of the root of that
mean, such as features in float32 make of twins, are at distance 0. Of rows at one distance, the one
that stands first counts as nearer.

Rows are compared with all others block by block: of a block there are at most `IN_A_BLOCK`
distances, which with all that is made of them takes some 40 MB, for any number of rows.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from cpdjax.errors import InputError
from cpdjax.kernel.moments import matmul
from cpdjax.machine.precision import default_batch_size, default_dtype, precision
from cpdjax.machine.programs import compiled, padded_width

#: 8 MB in float64, about what the nearer caches of a core hold.
IN_A_BLOCK = 2**20


class Nearest(NamedTuple):
    """Hold the k nearest other rows of every row, the nearest first."""

    index: Int[np.ndarray, "row neighbour"]
    distance: Float[np.ndarray, "row neighbour"]


def nearest(e: Float[np.ndarray, "row column"], k: int) -> Nearest:
    """Find the k nearest other rows of every row.

    Raises:
        InputError: there are not k other rows.
    """
    if not 1 <= k < len(e):
        raise InputError(
            f"{k} neighbours of each row need at least {k + 1} rows, and at least one neighbour, "
            f"got {len(e)} rows: take fewer neighbours, or more rows"
        )
    with precision(np.float64):  # keys are of 64 bits on every platform
        index, distance = _nearest(_padded(e), k=int(k))
        return Nearest(np.asarray(index), np.asarray(distance, np.float64))


def ranks(
    e: Float[np.ndarray, "row column"], index: Int[np.ndarray, "channel row"]
) -> Int[np.ndarray, "channel row"]:
    """Rank rows by how near they are in this space: 1 + the number of others that are nearer.

    Others are nearer where they are so by more than rounding: by more than one unit of squares.

    Args:
        index: for every row another one, such as its nearest neighbour in each of other spaces.
    """
    with precision(np.float64):
        found = _ranks(_padded(e), np.asarray(index, np.int32).T)
        return np.asarray(found).T


def imbalance(ranks: Int[np.ndarray, "*channel row"]) -> Float[np.ndarray, "*channel row"]:
    """Return what every row contributes to the information imbalance, which is their mean.

    Of space a to space b it is  2/N ⟨rank in b of the nearest neighbour in a⟩  (Glielmo, Zeni,
    Cheng, Csányi and Laio, PNAS Nexus 1, pgac039, 2022): 2/N where a knows the neighbours in b, and
    1 by chance. Where many rows coincide in b, ranks are low, and so is chance.
    """
    return ranks * (2 / ranks.shape[-1])


def shared(
    index_a: Int[np.ndarray, "row neighbour"], index_b: Int[np.ndarray, "*channel row neighbour"]
) -> Float[np.ndarray, "*channel row"]:
    """Return for every row the share of its neighbours in a that are neighbours in b as well.

    The mean over rows is also called the mutual kNN alignment (Huh, Cheung, Wang and Isola, ICML
    2024). By chance it is k/(N − 1).
    """
    *channels, rows, k = index_b.shape
    spaces = np.asarray(index_b, np.int32).reshape(-1, rows, k)
    with precision(np.float64):
        common = np.asarray(_common(np.asarray(index_a, np.int32), spaces))
    return common.reshape(*channels, rows) / k


def _padded(e: Float[np.ndarray, "row column"]) -> Float[np.ndarray, "row width"]:
    """Return rows with columns of zeros after their own, which change no distance."""
    more = padded_width(e.shape[1]) - e.shape[1]
    return np.pad(np.asarray(e, default_dtype()), ((0, 0), (0, more)))


@partial(compiled, static_argnames=("k",))
def _nearest(e: Float[Array, "row width"], *, k: int) -> tuple[Array, Array]:
    def of_block(rows: Int[Array, " block"]) -> tuple[Array, Array]:
        squares, unit = _squares(e, rows)
        index, found = _smallest(squares, k)
        return index, jnp.sqrt(found.astype(e.dtype) * unit[:, None])

    return _by_blocks(of_block, len(e))


@compiled
def _ranks(e: Float[Array, "row width"], index: Int[Array, "row channel"]) -> Array:
    def of_block(rows: Int[Array, " block"]) -> Array:
        squares, _ = _squares(e, rows)
        bounds = jnp.take_along_axis(squares, index[rows], axis=1) - 1
        nearer = lambda row: (row[0][None] < row[1][:, None]).sum(1, dtype=jnp.int32)  # noqa: E731
        return 1 + lax.map(nearer, (squares, bounds), batch_size=default_batch_size())

    found: Array = _by_blocks(of_block, len(e))
    return found


@compiled
def _common(a: Int[Array, "row k"], spaces: Int[Array, "channel row k"]) -> Array:
    # No row has a neighbour twice, so pairs of equal ones are as many as neighbours in common.
    equal = lambda b: (a[:, :, None] == b[:, None, :]).sum((1, 2), dtype=jnp.int32)  # noqa: E731
    return lax.map(equal, spaces)


def _by_blocks(of_block: Any, rows: int) -> Any:
    """Return what a function makes of all rows, some after the others; blocks are equally large."""
    blocks = -(-rows * rows // IN_A_BLOCK)
    size = -(-rows // blocks)
    index = jnp.minimum(jnp.arange(blocks * size, dtype=jnp.int32), rows - 1)  # the last one again
    found = lax.map(of_block, index.reshape(blocks, size))
    return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:])[:rows], found)


def _squares(e: Float[Array, "row width"], rows: Int[Array, " block"]) -> tuple[Array, Array]:
    """Return squares of distances from some rows to all, in whole units; and the units.

    A row is infinitely far from itself.
    """
    norm = (e * e).sum(1)
    squares = norm[rows][:, None] + norm[None] - 2 * matmul(e[rows], e.T)
    mean = norm[rows] + norm.mean()  # of the squares from each row, since e is about its mean
    # Far more than the rounding of sums, and far less than what tells rows apart (our choice).
    unit = jnp.where(mean > 0, float(jnp.finfo(e.dtype).eps) ** (2 / 3) * mean, 1)
    own = rows[:, None] == jnp.arange(len(e), dtype=rows.dtype)[None]
    return jnp.where(own, jnp.inf, jnp.rint(jnp.maximum(squares, 0) / unit[:, None])), unit


def _smallest(values: Float[Array, "block row"], k: int) -> tuple[Array, Array]:
    """Return the places of the k smallest values of each block's row, and the values, ascending.

    The values are whole numbers. Each is joined with its place to one number, which is another's
    nowhere. These are split into groups, whose smallest are at hand: only the group that the
    smallest of all is taken from is searched anew, so that it takes hardly longer than reading the
    values once. Values that leave no bits for places count as equal: with a million rows those from
    300 times the mean square on, with fewer rows only larger ones.
    """
    count = values.shape[1]
    last = jnp.iinfo(jnp.int64).max
    bits = count.bit_length()
    most = min(last >> bits, 2**53 - 1)  # which float64 holds exactly
    whole = jnp.minimum(values.astype(jnp.float64), most).astype(jnp.int64)
    keys = (whole << bits) | jnp.arange(count, dtype=jnp.int64)[None]
    size = int(count**0.5)
    keys = jnp.pad(keys, ((0, 0), (0, -count % size)), constant_values=last)
    groups = keys.reshape(len(keys), -1, size)

    def take(first: Array, _: None) -> tuple[Array, Array]:
        group = first.argmin(1)[:, None]
        found = jnp.take_along_axis(first, group, 1)
        members = jnp.take_along_axis(groups, group[:, :, None], 1)[:, 0]
        following = jnp.where(members > found, members, last).min(1)
        others = jnp.arange(first.shape[1], dtype=group.dtype)[None] != group
        return jnp.where(others, first, following[:, None]), found[:, 0]

    _, found = lax.scan(take, groups.min(2), None, length=k)
    place = found & (2**bits - 1)
    return place.astype(jnp.int32).T, (found >> bits).T
