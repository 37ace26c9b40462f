"""Go through the repeats and the nested subsets of a compiled probe.

Both kernels, of scalars (`probe`) and of tensors (`equivariant_probe`), share this. Every repeat is
one shuffle of the molecules, and a subset of size N is the first N of the shuffle. So the rows of a
larger size contain those of every smaller one, and its second moments are those of the size before
plus the moments of the rows that are new.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from cpdjax.kernel.residual import Rows
from cpdjax.kernel.scores import Scores

#: The second moments of all folds: `moments.Moments`, or a tuple of arrays, with an axis (fold,).
FoldMoments = Any

#: Rows below which a factorisation takes less time than the compilation of another body.
_LITTLE = 256
#: What a visit to rows costs by itself, in slots: moments are united once.
_VISIT = 32
#: Numbers in the features of all folds up to which folds run at once on a CPU as well.
_FEW = 2**13


def over_sizes(
    rows: Rows,
    rank: Int[Array, "fold row"],
    sizes: Sequence[int],
    bounds: Sequence[tuple[int, int]],
    few: Sequence[int],
    measure: Callable[[Rows], FoldMoments],
    unite: Callable[[FoldMoments, FoldMoments], FoldMoments],
    score: Callable[[Rows, FoldMoments | None], Scores],
) -> Scores:
    """Score every nested subset of one repeat; the result has axes (size, fold, alpha, target).

    Few bodies are compiled, each for all sizes that share it.

    Args:
        rows: the rows of the largest size, laid out by fold.
        rank: place of every row's molecule in the shuffle; `rank < N` is the subset of size N.
        bounds: for each size the first and last slot, in any fold, between which its new rows lie.
        few: the places of the sizes that are scored without moments.
        measure: makes the moments of some rows.
        unite: makes the moments of two disjoint sets of rows from the moments of each.
        score: cross-validates one subset, given its rows and its moments or None.
    """
    found: list[Scores] = []
    for group in _alike([bounds[i][1] * len(rank) for i in few]):
        last = bounds[few[group[-1]]][1]
        own = jnp.asarray([sizes[few[i]] for i in group], rank.dtype)
        subset = partial(_first, rows, rank, last=last)
        found.append(lax.map(lambda size, subset=subset: score(subset(size), None), own))
    many = [i for i in range(len(sizes)) if i not in few]
    if many:
        visits = _visits([sizes[i] for i in many], [bounds[i] for i in many])
        found.append(_growing(rows, rank, visits, measure, unite, score))
    return jax.tree.map(lambda *scores: jnp.concatenate(scores), *found)


def _alike(counts: Sequence[int]) -> list[list[int]]:
    """Group ascending numbers of rows, so that one body, padded to the largest, does for a group.

    What grows with the cube of the rows is at most eight times as much work as without padding, and
    below `_LITTLE` rows it is little work anyhow.

    >>> _alike([50, 100, 250, 500, 600])
    [[0, 1, 2], [3], [4]]
    """
    keys = [max(_LITTLE, 1 << (count - 1).bit_length()) for count in counts]
    return [[i for i, k in enumerate(keys) if k == key] for key in sorted(set(keys))]


class _Visits(NamedTuple):
    """Hold a plan that visits every row once, a few slots of all folds at a time."""

    #: How many slots a visit has.
    slots: int
    #: For every visit: first slot, slot after the last, the size before, the size, and whether the
    #: moments of that size are then complete.
    steps: Int[np.ndarray, "visit 5"]


def _visits(sizes: Sequence[int], bounds: Sequence[tuple[int, int]]) -> _Visits:
    """Plan the visits to the new rows of every size; a visit costs what its slots do, and a little.

    >>> _visits([20, 40, 120], [(0, 10), (10, 20), (20, 60)]).slots
    20
    """
    # Slots before the first of these sizes belong to sizes that were scored without moments.
    bounds = [(0, bounds[0][1]), *bounds[1:]]
    lengths = [last - first for first, last in bounds]
    parts = [-(-max(lengths) // (1 << k)) for k in range(max(lengths).bit_length())]
    slots = min(parts, key=lambda p: sum(-(-length // p) for length in lengths) * (p + _VISIT))
    steps = [
        (start, min(start + slots, last), before, size, start + slots >= last)
        for (first, last), before, size in zip(bounds, (0, *sizes), sizes, strict=False)
        for start in range(first, last, slots)
    ]
    return _Visits(slots, np.array(steps, np.int32))


def _growing(
    rows: Rows,
    rank: Int[Array, "fold row"],
    visits: _Visits,
    measure: Callable[[Rows], FoldMoments],
    unite: Callable[[FoldMoments, FoldMoments], FoldMoments],
    score: Callable[[Rows, FoldMoments | None], Scores],
) -> Scores:
    """Score sizes whose moments grow by those of the rows that are new in each."""
    slots = visits.slots

    def new_rows(step: Array) -> Rows:
        first, last, before, size = step[:4]
        # A slice that would reach beyond the end begins earlier: `place` says where it did.
        c, x, y, own = (lax.dynamic_slice_in_dim(a, first, slots, -1) for a in (*rows[:3], rank))
        place = jnp.minimum(first, rank.shape[1] - slots) + jnp.arange(slots, dtype=first.dtype)
        wanted = (own >= before) & (own < size) & ((place >= first) & (place < last))[None]
        return Rows(c, x, y, wanted.astype(rows.weight.dtype))

    def visit(moments: FoldMoments, step: Array) -> tuple[FoldMoments, Scores]:
        moments = unite(moments, measure(new_rows(step)))
        scored = lambda: score(_first(rows, rank, step[3], rank.shape[1]), moments)  # noqa: E731
        nothing = lambda: jax.tree.map(jnp.zeros_like, jax.eval_shape(scored))  # noqa: E731
        return moments, lax.cond(step[4] > 0, scored, nothing)

    steps = jnp.asarray(visits.steps)
    if len(steps) == 1:
        only = score(_first(rows, rank, steps[0, 3], slots), measure(new_rows(steps[0])))
        return jax.tree.map(lambda a: a[None], only)
    empty = jax.tree.map(jnp.zeros_like, jax.eval_shape(lambda s: measure(new_rows(s)), steps[0]))
    found = lax.scan(visit, empty, steps)[1]
    return jax.tree.map(lambda a: a[np.flatnonzero(visits.steps[:, 4])], found)


def _first(rows: Rows, rank: Int[Array, "fold row"], size: Array, last: int) -> Rows:
    """Return the subset of a size, which lies before the slot `last`: other rows get weight 0."""
    c, x, y, weight = (a[..., :last] for a in rows)
    return Rows(c, x, y, jnp.where(rank[:, :last] < size, weight, 0))


def set_apart(
    rows: Rows, rank: Int[Array, "fold row"], slots: int, test: bool
) -> tuple[Rows, Int[Array, "fold row"], Rows | None]:
    """Return training rows, in so many slots, their rank and the test set; None: there is none."""
    if not test:
        return rows, rank, None
    trained = Rows(*(a[1:, ..., :slots] for a in rows))
    return trained, rank[1:, :slots], Rows(*(a[0] for a in rows))


def over_folds(
    hold_out: Callable[[Array, Array, Rows], Scores],
    rows: Rows,
    test: Rows | None,
    batch_size: int | None,
) -> Scores:
    """Hold out every fold in turn, or a test set alone; the result has axes (fold, ...).

    Args:
        hold_out: fits and scores, given the numbers of the folds that are trained on, these as 0
            and 1 for every fold, and the held-out rows.
    """
    folds, dtype = len(rows.weight), rows.x.dtype
    if test is not None:
        scores = hold_out(jnp.arange(folds), jnp.ones(folds, dtype), test)
        return jax.tree.map(lambda a: a[None], scores)

    def one(args: tuple[Array, Rows]) -> Scores:
        fold, held_out = args
        return hold_out(*other_folds(fold, folds, dtype), held_out)

    return lax.map(one, (jnp.arange(folds), rows), batch_size=at_once(rows, batch_size))


def at_once(rows: Rows, batch_size: int | None) -> int | None:
    """Return how many folds run at once: `batch_size`, or all where few rows make that cheap."""
    if batch_size is None and rows.x.size <= _FEW:
        return len(rows.x) + 1  # one more than there are: then `lax.map` compiles no loop at all
    return batch_size


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
    if len(index) == 1:  # a loop would compile longer, and twice where derivatives are taken
        scores = jax.tree.map(lambda a: a[None], one_repeat((index[0], rank[0])))
    else:
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
