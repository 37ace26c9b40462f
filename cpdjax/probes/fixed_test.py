"""Lay out learning curves that are scored on one test set, whatever the size and the repeat.

Cross-validation inside a subset of N molecules trains on four fifths of them and scores on the
rest: at N = 50, on ten. With a test set every size trains on all its N molecules, and all sizes and
repeats are scored on the same molecules, which no size trains on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from cpdjax.errors import InputError
from cpdjax.probes.folds import Layout, check_sizes, generator, padded, tested
from cpdjax.probes.splitters import read_rows
from cpdjax.validation import check_count, check_rows

DEFAULT_FOLDS = 5


def nested_beside(
    n: int, sizes: Sequence[int], repeats: int, test: Any, *, seed: int = 0
) -> Layout:
    """Return the layout of nested random subsets of the molecules that are not in the test set.

    Args:
        n: the number of all molecules.
        test: the molecules of the test set, by number or as a mask of all.

    Raises:
        InputError: the test set is none, leaves nothing to train on, or sizes do not fit the rest.

    >>> layout = nested_beside(6, [2, 3], repeats=2, test=[0, 5])
    >>> sorted({*layout.subset(0, 3), *layout.subset(1, 3)} | {0, 5}) == list(range(6))
    True
    >>> layout.test_set.tolist(), layout.held_out
    ([0, 5], 1)
    """
    held_out = read_rows("test", test, n)
    if len(held_out) < 2:
        raise InputError("test must hold two molecules or more: R² of one is undefined")
    others = np.setdiff1d(np.arange(n), held_out)
    sizes = check_sizes(sizes, len(others), "molecules that are not in the test set")
    check_count("repeats", repeats)
    check_rows("the shuffles of all repeats", repeats * sizes[-1])
    rng = generator(seed)
    orders = [rng.permutation(others)[: sizes[-1]] for _ in range(repeats)]
    places = np.arange(sizes[-1])
    return padded([[tested(held_out), (order, places)] for order in orders], sizes, test=True)


def check_no_folds(folds: Any) -> None:
    """Raise InputError for folds that a caller has chosen beside a test set."""
    if not isinstance(folds, int) or folds != DEFAULT_FOLDS:
        raise InputError("a test set takes the place of folds: give test or folds, not both")


def drawn_test(n: int, count: int, *, seed: int = 0) -> Int[np.ndarray, " molecule"]:
    """Return `count` of n molecules, drawn at random, for a test set.

    Raises:
        InputError: fewer than two molecules are left to train on.

    >>> len(drawn_test(10, 4))
    4
    """
    if count > n - 2:
        raise InputError(
            f"a test set of {count:,} leaves {max(n - count, 0)} of {n:,} molecules to train on: "
            "take a smaller one, or more molecules"
        )
    generator(seed)  # for its checks
    return np.sort(np.random.default_rng((seed, 4)).permutation(n)[:count])
