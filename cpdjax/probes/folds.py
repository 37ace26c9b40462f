"""Decide which molecule is held out when: fold ids, and the nested layout of a learning curve.

Everything here is NumPy and depends on nothing but its arguments and the random seed: a layout is
made once, outside any compiled function, and enters the kernel as integer arrays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any, TypeGuard

import numpy as np
from jaxtyping import Int

from cpdjax.errors import InputError
from cpdjax.validation import check_count, check_rows

#: The rows of layouts that are kept for the next call; larger ones take longer to probe anyway.
_REMEMBERED = 100_000


def kfold(n: int, folds: int = 5, *, seed: int = 0) -> Int[np.ndarray, " molecule"]:
    """Return the fold id of every molecule for shuffled K-fold cross-validation.

    Fold sizes differ by one at most.

    Raises:
        InputError: when there are fewer than two folds, or fewer molecules than folds.

    >>> np.bincount(kfold(12, 5)).tolist()
    [3, 3, 2, 2, 2]
    """
    _check_folds(n, folds)
    ids = np.empty(n, np.int64)
    ids[generator(seed).permutation(n)] = np.arange(n) % folds
    return ids


def block_folds(n: int, folds: int = 5) -> Int[np.ndarray, " molecule"]:
    """Return fold ids of blocks of neighbours, as scikit-learn's `KFold` makes them unshuffled.

    Raises:
        InputError: when `kfold` raises it.

    >>> block_folds(7, 3).tolist()
    [0, 0, 0, 1, 1, 2, 2]
    """
    _check_folds(n, folds)
    return np.repeat(np.arange(folds), n // folds + (np.arange(folds) < n % folds))


def group_folds(
    groups: Sequence[object] | np.ndarray, folds: int = 5, *, seed: int = 0
) -> Int[np.ndarray, " molecule"]:
    """Return fold ids under which no group is both trained on and held out.

    A group holds all molecules with the same entry of `groups`, such as the same formula. Groups
    are shuffled by the random seed. The largest group then goes first, and each one to the fold
    that has the fewest molecules so far: this is the balanced assignment of scikit-learn's
    `GroupKFold`, with ties broken at random.

    Raises:
        InputError: when there are fewer than two folds, or fewer groups than folds.

    >>> ids = group_folds(["CH4", "H2O", "CH4", "NH3"], folds=3)
    >>> bool(ids[0] == ids[2]), sorted(set(ids.tolist()))
    (True, [0, 1, 2])
    """
    names, inverse, counts = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    _check_folds(len(names), folds, "groups")
    shuffled = generator(seed).permutation(len(names))
    largest_first = shuffled[np.argsort(-counts[shuffled], kind="stable")]
    filled = np.zeros(folds, np.int64)
    fold_of = np.empty(len(names), np.int64)
    for group in largest_first:
        fold_of[group] = np.argmin(filled)
        filled[fold_of[group]] += counts[group]
    return fold_of[inverse]


@dataclass(frozen=True)
class Splits:
    """Hold splits that no fold ids make, such as those of overlapping test sets."""

    #: The rows that each split trains on and holds out; the two share none.
    pairs: tuple[tuple[Int[np.ndarray, " row"], Int[np.ndarray, " row"]], ...]

    def layout(self) -> Layout:
        """Return a layout whose repeats are the splits, each with a test set of its own."""
        rows = [[set_aside(test), (train, np.arange(len(train)))] for train, test in self.pairs]
        largest = max(len(train) for train, _ in self.pairs)
        return replace(padded(rows, (largest,), test=True), of_splits=True)


@dataclass(frozen=True)
class Layout:
    """Hold the place of every row of a nested learning curve, where every repeat is a new shuffle.

    - `sizes`: the sizes of the nested subsets, in molecules.
    - `bounds`: for every size the first slot, and the one after the last, between which the rows
      lie that are new in this size; the same for every fold.
    - `index`: the molecule in each slot of a fold.
    - `rank`: the place of that molecule in its repeat's shuffle, so that the subset of size N is
      `rank < N`. In a slot that is padding, the rank is larger than any size.
    """

    sizes: tuple[int, ...]
    bounds: tuple[tuple[int, int], ...]
    index: Int[np.ndarray, "repeat fold slot"]
    rank: Int[np.ndarray, "repeat fold slot"]
    #: Whether the first fold of a repeat is its test set: all of it belongs to every size, it alone
    #: is held out, and sizes count the rows of the second fold, which are trained on.
    test: bool = False
    #: Whether each repeat is one of the `Splits`.
    of_splits: bool = False

    @property
    def held_out(self) -> int:
        """Return how many folds are held out, one after the other."""
        return 1 if self.test else self.index.shape[1]

    @property
    def test_set(self) -> Int[np.ndarray, " molecule"]:
        """Return the test set of the first repeat."""
        return self.index[0, 0][self.rank[0, 0] < self.sizes[0]]

    def subset(self, repeat: int, size: int) -> Int[np.ndarray, " molecule"]:
        """Return the molecules of one nested subset, in the order in which they joined it.

        They are those of all folds, but without a test set.
        """
        index, rank = self.index[repeat, self.test :], self.rank[repeat, self.test :]
        inside = rank < size
        return index[inside][np.argsort(rank[inside])]

    def fold_ids(self, repeat: int, size: int) -> Int[np.ndarray, " molecule"]:
        """Return the fold of every molecule of `subset(repeat, size)`, in the same order."""
        inside = self.rank[repeat] < size
        fold, _ = np.nonzero(inside)
        return fold[np.argsort(self.rank[repeat][inside])]


def cross_validation(n: int, folds: int | np.ndarray | Splits, *, seed: int = 0) -> Layout:
    """Return the layout of one cross-validation of all molecules in their given order.

    Raises:
        InputError: when `kfold` raises it, or when fold ids are not one integer per molecule.
    """
    if isinstance(folds, Splits):
        return folds.layout()
    if not _is_number(folds):
        return _lay_out([np.arange(n)], [_check_ids(folds, n)], (n,))
    if type(folds) is type(seed) is int and n <= _REMEMBERED:
        return _shuffled(n, folds, seed)
    return _shuffled.__wrapped__(n, folds, seed)


@lru_cache(maxsize=8)  # who probes one thing after another asks for the same folds each time
def _shuffled(n: int, folds: int, seed: int) -> Layout:
    return _lay_out([np.arange(n)], [kfold(n, folds, seed=seed)], (n,))


def nested(
    n: int,
    sizes: Sequence[int],
    repeats: int,
    folds: int | np.ndarray = 5,
    *,
    seed: int = 0,
) -> Layout:
    """Return the layout of nested random subsets, from `repeats` shuffles with folds of their own.

    Where a number K of folds is given, the molecule at place p of a shuffle is in fold p mod K, so
    that every subset is balanced. Where fold ids are given, every subset keeps them.

    Raises:
        InputError: when sizes do not increase, or do not fit the data and the folds.
    """
    sizes = check_sizes(sizes, n)
    check_count("repeats", repeats)
    check_rows("the shuffles of all repeats", repeats * sizes[-1])
    rng = generator(seed)
    orders = [rng.permutation(n)[: sizes[-1]] for _ in range(repeats)]
    if _is_number(folds):
        _check_folds(sizes[0], folds)
        ids = [np.arange(sizes[-1]) % folds] * repeats
    else:
        checked = _check_ids(folds, n)
        ids = [checked[order] for order in orders]
        for i in ids:
            _check_occupied(i[: sizes[0]], checked.max() + 1)
    return _lay_out(orders, ids, sizes)


def of_atoms(layout: Layout, offsets: Int[np.ndarray, " offset"]) -> Layout:
    """Return the layout of the same subsets and folds where each row is an atom.

    The atoms of molecule i are the rows from `offsets[i]` up to `offsets[i + 1]`, and each has the
    rank of its molecule. Sizes still count molecules, while `subset` and `fold_ids` return atoms.

    >>> atoms = of_atoms(nested(4, [2, 4], repeats=1, folds=2), np.array([0, 3, 4, 6, 9]))
    >>> atoms.sizes, sorted(atoms.subset(0, 4).tolist())
    ((2, 4), [0, 1, 2, 3, 4, 5, 6, 7, 8])
    """
    return of_groups(layout, np.repeat(np.arange(len(offsets) - 1), np.diff(offsets)))


def of_groups(layout: Layout, group: Int[np.ndarray, " row"]) -> Layout:
    """Return the layout of the same subsets and folds where each molecule is a group of rows.

    Row r belongs to the molecule `group[r]` of the layout, and has its rank. Sizes still count
    molecules, while `subset` and `fold_ids` return rows.

    >>> of_groups(nested(2, [2], repeats=1, folds=2), np.array([0, 1, 0])).subset(0, 2).tolist()
    [0, 2, 1]
    """
    counts = np.bincount(group)
    members = np.split(np.argsort(group, kind="stable"), np.cumsum(counts)[:-1])

    def expand(molecules: np.ndarray, rank: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        filled = rank < layout.sizes[-1]
        molecules, rank = molecules[filled], rank[filled]
        rows = [members[i] for i in molecules]
        return np.concatenate(rows), np.repeat(rank, counts[molecules])

    folds = [list(zip(*pair, strict=True)) for pair in zip(layout.index, layout.rank, strict=True)]
    rows = [[expand(*fold) for fold in repeat] for repeat in folds]
    return padded(rows, layout.sizes, test=layout.test)


def _lay_out(orders: list[np.ndarray], ids: list[np.ndarray], sizes: tuple[int, ...]) -> Layout:
    rows = []
    for order, fold in zip(orders, ids, strict=True):
        places = np.argsort(fold, kind="stable")
        members = np.split(places, np.cumsum(np.bincount(fold))[:-1])
        rows.append([(order[own], own) for own in members])
    return padded(rows, sizes)


def set_aside(
    rows: Int[np.ndarray, " row"],
) -> tuple[Int[np.ndarray, " row"], Int[np.ndarray, " row"]]:
    """Return the rows of a test set with their ranks, which lie below every size."""
    return rows, np.zeros(len(rows), np.int64)


def padded(
    rows: list[list[tuple[np.ndarray, np.ndarray]]], sizes: tuple[int, ...], *, test: bool = False
) -> Layout:
    """Return the layout for the rows and their ascending ranks, fold by fold and repeat by repeat.

    Folds of different lengths are padded to the longest, so that they make one array. With `test`
    the first fold is a test set.
    """
    slots = max(len(index) for repeat in rows for index, _ in repeat)
    shape = (len(rows), len(rows[0]), slots)
    check_rows("all folds, padded to the longest,", math.prod(shape))
    index = np.zeros(shape, np.int32)
    rank = np.full(shape, np.iinfo(np.int32).max, np.int32)
    for r, repeat in enumerate(rows):
        for k, (found, ranks) in enumerate(repeat):
            index[r, k, : len(found)] = found
            rank[r, k, : len(found)] = ranks
    filled = [(rank[:, test:] < size).sum(-1) for size in sizes]
    # In every fold the slots of a subset come first, since ranks ascend. New rows of a size begin
    # in the fold where the size before has the fewest rows, and end in the one where this size has
    # the most: every fold is cut at the same slots, and its other rows in between get weight 0.
    first = [0, *(int(f.min()) for f in filled[:-1])]
    last = [int(f.max()) for f in filled]
    index.flags.writeable = rank.flags.writeable = False  # a layout may serve several calls
    return Layout(sizes, tuple(zip(first, last, strict=True)), index, rank, test)


def generator(seed: int) -> np.random.Generator:
    """Return the random numbers of a seed, which must be a whole number."""
    try:
        return np.random.default_rng(seed)
    except (TypeError, ValueError):
        raise InputError(f"seed must be a whole number, at least 0, got {seed!r}") from None


def _check_folds(n: int, folds: Any, what: str = "molecules") -> None:
    check_count("folds", folds, least=2)
    if n < folds:
        raise InputError(f"{folds} folds need at least as many {what}, got {n}; use fewer folds")


def _is_number(folds: Any) -> TypeGuard[int]:
    """Return whether folds are given by their number, and not row by row."""
    return isinstance(folds, str) or not hasattr(folds, "__len__")


def _check_ids(folds: Any, n: int) -> np.ndarray:
    try:
        ids = np.asarray(folds)
    except ValueError:  # lists of different lengths
        ids = np.empty(0, object)
    if ids.shape != (n,) or not np.issubdtype(ids.dtype, np.integer):
        raise InputError(
            f"fold ids must be an array with one integer for each of {n} molecules, "
            f"got shape {ids.shape} and dtype {ids.dtype}"
        )
    if n and ids.min() < 0:
        raise InputError(f"fold ids must count from 0, got {ids.min()}")
    _check_occupied(ids, int(ids.max()) + 1 if n else 0)
    return ids.astype(np.int64)


def _check_occupied(ids: np.ndarray, folds: int) -> None:
    """Refuse folds without molecules, or without training rows; ids may be as large as they are."""
    occupied = np.unique(ids)
    if len(occupied) < folds:
        fold = np.setdiff1d(np.arange(len(occupied) + 1), occupied)[0]
        raise InputError(
            f"fold {fold} has no molecule among the first {len(ids)}; renumber the folds from 0 "
            "without gaps (numpy.unique(ids, return_inverse=True)[1]), or start from a larger size"
        )
    if folds == 1:
        raise InputError(
            f"fold 0 has no training rows, since it holds all {len(ids)} molecules; "
            "spread the molecules over two folds or more"
        )


def check_sizes(sizes: Sequence[int], n: int, of: str = "molecules") -> tuple[int, ...]:
    """Return sizes as a tuple.

    Raises:
        InputError: they do not increase, or are larger than the n molecules that there are.
    """
    if isinstance(sizes, str):
        raise InputError(f"sizes must be whole numbers, such as [50, 100], got {sizes!r}")
    checked = tuple(sizes) if np.ndim(sizes) == 1 else ()
    if not all(isinstance(s, int | np.integer) for s in checked):
        raise InputError(f"sizes must be whole numbers, got {sizes!r}")
    checked = tuple(int(s) for s in checked)
    if not checked or any(a >= b for a, b in pairwise(checked)):
        raise InputError(f"sizes must be increasing and not empty, got {sizes!r}")
    if checked[-1] > n:
        raise InputError(f"size {checked[-1]} is larger than the data: {n} {of}")
    if checked[0] < 2:
        raise InputError(f"sizes must be at least 2, got {checked[0]}")
    return checked
