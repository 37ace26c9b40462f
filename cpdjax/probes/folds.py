"""Which molecule is held out when: fold ids, and the nested layout of a learning curve.

Everything here is NumPy and deterministic in its seed: a layout is made once, outside any
compiled function, and enters the kernel as integer arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Int

from cpdjax.errors import InputError


def kfold(n: int, folds: int = 5, *, seed: int = 0) -> Int[np.ndarray, " molecule"]:
    """Shuffled K-fold: the fold id of every molecule, fold sizes differing by one at most.

    Raises:
        InputError: fewer than two folds, or fewer molecules than folds.

    >>> np.bincount(kfold(12, 5)).tolist()
    [3, 3, 2, 2, 2]
    """
    _check_count(n, folds)
    ids = np.empty(n, np.int64)
    ids[_generator(seed).permutation(n)] = np.arange(n) % folds
    return ids


def group_folds(
    groups: Sequence[object] | np.ndarray, folds: int = 5, *, seed: int = 0
) -> Int[np.ndarray, " molecule"]:
    """Fold ids under which no group (a formula, say) is both trained on and held out.

    Groups are shuffled by `seed`, then laid largest first into the fold that is emptiest: the
    balanced assignment of scikit-learn's `GroupKFold`, with ties broken at random.

    Raises:
        InputError: fewer than two folds, or fewer groups than folds.

    >>> ids = group_folds(["CH4", "H2O", "CH4", "NH3"], folds=3)
    >>> bool(ids[0] == ids[2]), sorted(set(ids.tolist()))
    (True, [0, 1, 2])
    """
    names, inverse, counts = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    _check_count(len(names), folds, "groups")
    shuffled = _generator(seed).permutation(len(names))
    largest_first = shuffled[np.argsort(-counts[shuffled], kind="stable")]
    filled = np.zeros(folds, np.int64)
    fold_of = np.empty(len(names), np.int64)
    for group in largest_first:
        fold_of[group] = np.argmin(filled)
        filled[fold_of[group]] += counts[group]
    return fold_of[inverse]


@dataclass(frozen=True)
class Layout:
    """Where the rows of a nested learning curve lie: every repeat an own shuffle of the data.

    Molecule `index[r, k, i]` is the i-th of fold k in repeat r; `rank` is its place in the
    repeat's shuffle, so the subset of size N is `rank < N`. Padding has a rank no size reaches.
    `bounds[s]` = (first, last) slot between which the rows new in size s lie, in every fold.
    """

    sizes: tuple[int, ...]
    bounds: tuple[tuple[int, int], ...]
    index: Int[np.ndarray, "repeat fold slot"]
    rank: Int[np.ndarray, "repeat fold slot"]

    def subset(self, repeat: int, size: int) -> Int[np.ndarray, " molecule"]:
        """The molecules of one nested subset, in the order in which they joined."""
        inside = self.rank[repeat] < size
        return self.index[repeat][inside][np.argsort(self.rank[repeat][inside])]

    def fold_ids(self, repeat: int, size: int) -> Int[np.ndarray, " molecule"]:
        """The fold of every molecule of `subset(repeat, size)`, in the same order."""
        inside = self.rank[repeat] < size
        fold, _ = np.nonzero(inside)
        return fold[np.argsort(self.rank[repeat][inside])]


def cross_validation(n: int, folds: int | np.ndarray, *, seed: int = 0) -> Layout:
    """All molecules in their given order, each held out once.

    Raises:
        InputError: as `kfold`, or fold ids that are not one integer a molecule.
    """
    ids = kfold(n, folds, seed=seed) if isinstance(folds, int) else _check_ids(folds, n)
    return _lay_out([np.arange(n)], [ids], (n,))


def nested(
    n: int,
    sizes: Sequence[int],
    repeats: int,
    folds: int | np.ndarray = 5,
    *,
    seed: int = 0,
) -> Layout:
    """Nested random subsets of every size, `repeats` shuffles, each with its own folds.

    With a number of folds, the molecule at place p of a shuffle has fold p mod K, so every
    subset is balanced; with given ids, every subset keeps them.

    Raises:
        InputError: sizes that are not increasing or do not fit the data and folds.
    """
    sizes = _check_sizes(sizes, n, folds)
    if not isinstance(repeats, int | np.integer) or repeats < 1:
        raise InputError(f"repeats must be at least 1 and whole, got {repeats!r}")
    rng = _generator(seed)
    orders = [rng.permutation(n)[: sizes[-1]] for _ in range(repeats)]
    if isinstance(folds, int):
        _check_count(sizes[0], folds)
        ids = [np.arange(sizes[-1]) % folds] * repeats
    else:
        checked = _check_ids(folds, n)
        ids = [checked[order] for order in orders]
        for i in ids:
            _check_occupied(i[: sizes[0]], checked.max() + 1, sizes[0])
    return _lay_out(orders, ids, sizes)


def of_atoms(layout: Layout, offsets: Int[np.ndarray, " offset"]) -> Layout:
    """The same subsets and folds where rows are atoms: each has the rank of its molecule.

    Sizes still count molecules; `subset` and `fold_ids` then speak of atoms.

    >>> atoms = of_atoms(nested(4, [2, 4], repeats=1, folds=2), np.array([0, 3, 4, 6, 9]))
    >>> atoms.sizes, sorted(atoms.subset(0, 4).tolist())
    ((2, 4), [0, 1, 2, 3, 4, 5, 6, 7, 8])
    """
    counts = np.diff(offsets)

    def expand(molecules: np.ndarray, rank: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        filled = rank < layout.sizes[-1]
        molecules, rank = molecules[filled], rank[filled]
        atoms = [np.arange(offsets[i], offsets[i + 1]) for i in molecules]
        return np.concatenate(atoms), np.repeat(rank, counts[molecules])

    folds = [list(zip(*pair, strict=True)) for pair in zip(layout.index, layout.rank, strict=True)]
    return padded([[expand(*fold) for fold in repeat] for repeat in folds], layout.sizes)


def _lay_out(orders: list[np.ndarray], ids: list[np.ndarray], sizes: tuple[int, ...]) -> Layout:
    folds = max(int(i.max()) for i in ids) + 1
    members = [[np.flatnonzero(i == k) for k in range(folds)] for i in ids]
    return padded(
        [
            [(order[places], places) for places in repeat]
            for order, repeat in zip(orders, members, strict=True)
        ],
        sizes,
    )


def padded(rows: list[list[tuple[np.ndarray, np.ndarray]]], sizes: tuple[int, ...]) -> Layout:
    """From the rows and ranks, ascending, of every fold of every repeat."""
    slots = max(len(index) for repeat in rows for index, _ in repeat)
    shape = (len(rows), len(rows[0]), slots)
    index = np.zeros(shape, np.int32)
    rank = np.full(shape, np.iinfo(np.int32).max, np.int32)
    for r, repeat in enumerate(rows):
        for k, (found, ranks) in enumerate(repeat):
            index[r, k, : len(found)] = found
            rank[r, k, : len(found)] = ranks
    filled = [(rank < size).sum(-1) for size in sizes]
    first = [0, *(int(f.min()) for f in filled[:-1])]
    last = [int(f.max()) for f in filled]
    return Layout(sizes, tuple(zip(first, last, strict=True)), index, rank)


def _generator(seed: int) -> np.random.Generator:
    try:
        return np.random.default_rng(seed)
    except (TypeError, ValueError):
        raise InputError(f"seed must be a whole number, at least 0, got {seed!r}") from None


def _check_count(n: int, folds: int, what: str = "molecules") -> None:
    if folds < 2:
        raise InputError(f"folds must be at least 2, got {folds}")
    if n < folds:
        raise InputError(f"{folds} folds need at least as many {what}, got {n}; lower folds")


def _check_ids(folds: object, n: int) -> np.ndarray:
    ids = np.asarray(folds)
    if ids.shape != (n,) or not np.issubdtype(ids.dtype, np.integer):
        raise InputError(
            f"fold ids must be one integer for each of {n} molecules, "
            f"got shape {ids.shape} and dtype {ids.dtype}"
        )
    if n and ids.min() < 0:
        raise InputError(f"fold ids must count from 0, got {ids.min()}")
    _check_occupied(ids, int(ids.max()) + 1 if n else 0, n)
    return ids


def _check_occupied(ids: np.ndarray, folds: int, size: int) -> None:
    held_out = np.bincount(ids, minlength=folds)
    for fold in np.flatnonzero(held_out == 0):
        raise InputError(
            f"fold {fold} has no molecule among the first {size}; renumber the folds from 0 "
            "or start from a larger size"
        )
    for fold in np.flatnonzero(held_out == size):
        raise InputError(f"fold {fold} has no training rows: it holds all {size} molecules")


def _check_sizes(sizes: Sequence[int], n: int, folds: int | np.ndarray) -> tuple[int, ...]:
    checked = tuple(sizes) if np.ndim(sizes) == 1 else ()
    if not all(isinstance(s, int | np.integer) for s in checked):
        raise InputError(f"sizes must be whole numbers, got {sizes!r}")
    checked = tuple(int(s) for s in checked)
    if not checked or any(a >= b for a, b in pairwise(checked)):
        raise InputError(f"sizes must be increasing and not empty, got {sizes!r}")
    if checked[-1] > n:
        raise InputError(f"size {checked[-1]} is larger than the data: {n} molecules")
    if checked[0] < 2:
        raise InputError(f"sizes must be at least 2, got {checked[0]}")
    return checked
