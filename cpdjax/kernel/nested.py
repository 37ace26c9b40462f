"""Go through the repeats and the nested subsets of a compiled probe.

Both kernels, of scalars (`probe`) and of tensors (`equivariant_probe`), share this. Every repeat is
one shuffle of the molecules, and a subset of size N is the first N of the shuffle. So the rows of a
larger size contain those of every smaller one, and its second moments are those of the size before
plus the moments of the rows that are new.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from cpdjax.kernel.residual import Rows
from cpdjax.kernel.scores import Scores

#: The second moments of all folds: `moments.Moments`, or a tuple of arrays, with an axis (fold,).
FoldMoments = Any


def over_sizes(
    rows: Rows,
    rank: Int[Array, "fold row"],
    sizes: tuple[int, ...],
    bounds: tuple[tuple[int, int], ...],
    *,
    measure: Callable[[Rows], FoldMoments],
    unite: Callable[[FoldMoments, FoldMoments], FoldMoments],
    score: Callable[[Rows, FoldMoments | None], Scores],
    needs_moments: Callable[[Rows], bool] = lambda rows: True,
) -> Scores:
    """Score every nested subset of one repeat; the result has axes (size, fold, alpha, target).

    Args:
        rows: the rows of the largest size, laid out by fold.
        rank: place of every row's molecule in the shuffle; `rank < N` is the subset of size N.
        bounds: for each size the first and last slot, in any fold, between which its new rows lie.
        measure: makes the moments of some rows.
        unite: makes the moments of two disjoint sets of rows from the moments of each.
        score: cross-validates one subset, given its rows and its moments.
        needs_moments: whether `score` reads moments of such rows; where it does not, it gets None.
    """
    curve: list[Scores] = []
    moments, measured = None, 0  # of the subset of size `measured`
    for size, (first, last) in zip(sizes, bounds, strict=True):
        subset = select(rows, 0, last, rank < size)
        if not needs_moments(subset):
            curve.append(score(subset, None))
            continue
        # Slots below `first` hold no new row, unless the sizes before went without moments.
        start = first if measured else 0
        new = measure(select(rows, start, last, (rank >= measured) & (rank < size)))
        moments = new if moments is None else unite(moments, new)
        measured = size
        curve.append(score(subset, moments))
    return jax.tree.map(lambda *scores: jnp.stack(scores), *curve)


def select(rows: Rows, first: int, last: int, wanted: Bool[Array, "fold row"]) -> Rows:
    """Return the rows between two slots; those that are not wanted get weight 0."""
    c, x, y, weight = (a[..., first:last] for a in rows)
    return Rows(c, x, y, jnp.where(wanted[:, first:last], weight, 0))


def over_repeats(
    one_repeat: Callable[[tuple[Array, Array]], Scores],
    index: Int[Array, "repeat fold slot"],
    rank: Int[Array, "repeat fold slot"],
    size: int,
    batch_size: int | None,
    arrange: Callable[[Array, Int[Array, "fold slot"]], Array],
) -> Scores:
    """Score every repeat; the result has axes (repeat, size, fold, alpha, target).

    Args:
        one_repeat: scores one repeat, given its `index` and `rank`.
        size: the largest subset.
        batch_size: how many repeats run at once; None: one after the other.
        arrange: lays the held-out predictions out by molecule, given the molecule of every slot;
            the slots of padding name a molecule that does not exist.
    """
    scores = lax.map(one_repeat, (index, rank), batch_size=batch_size)
    if scores.prediction is None:
        return scores
    # Predictions are asked for by `cpd` only, which has one repeat and one size.
    nowhere = jnp.iinfo(index.dtype).max
    molecule = jnp.where(rank[0] < size, index[0], nowhere)
    return replace(scores, prediction=arrange(scores.prediction[0, 0], molecule))


def by_molecule(
    prediction: Float[Array, "fold alpha target slot"],
    molecule: Int[Array, "fold slot"],
    molecules: int,
) -> Float[Array, "alpha molecule target"]:
    """Return held-out predictions in the order of the molecules, each of which is held out once."""
    _, alphas, targets, _ = prediction.shape
    rows = prediction.transpose(1, 0, 3, 2).reshape(alphas, -1, targets)
    empty = jnp.zeros((alphas, molecules, targets), prediction.dtype)
    return empty.at[:, molecule.reshape(-1)].set(rows, mode="drop")  # padding is dropped


def of_one_size(scores: Scores) -> Scores:
    """Return the scores of the only repeat and size, without these two axes."""
    without = jax.tree.map(lambda a: a[0, 0], replace(scores, prediction=None))
    return replace(without, prediction=scores.prediction)


def other_folds(fold: Int[Array, ""], folds: int, dtype: Any) -> tuple[Array, Array]:
    """Return the folds that are trained on when one is held out: their numbers, and as 0 and 1."""
    numbers = (fold + 1 + jnp.arange(folds - 1)) % folds
    return numbers, jnp.ones(folds, dtype).at[fold].set(0)
