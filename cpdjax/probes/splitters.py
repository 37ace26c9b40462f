"""Read folds: a number, one id a molecule, or whatever splits as scikit-learn's splitters do.

A splitter is told by its method `split`, so that scikit-learn need not be installed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol, TypeAlias

import jax
import numpy as np
from jaxtyping import Int

from cpdjax.errors import InputError
from cpdjax.machine.tracing import any_traced
from cpdjax.probes.folds import Splits
from cpdjax.validation import check_rows


class Splitter(Protocol):
    """Describe what splits rows, such as every splitter of `sklearn.model_selection`."""

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterable[tuple[Any, Any]]:
        """Return pairs of rows, trained on and held out."""
        ...


#: What `cpdjax.cpd` and its relatives take for folds.
Folds: TypeAlias = int | Int[np.ndarray, " molecule"] | Splitter | Iterable[tuple[Any, Any]]


def read_folds(folds: Any, X: Any, Y: Any = None) -> int | np.ndarray | Splits:
    """Return a number of folds, fold ids, or splits where test sets are not those of any ids.

    Args:
        folds: a number; one fold id a molecule; an object with a method `split`, which is called
            with X and, where Y is one column, with its values; or pairs of (train, test) rows.
        X: features or anything else with one row a molecule; a splitter sees the values of a
            matrix that is not traced.
        Y: targets, (molecule, target), if they are known.

    Raises:
        InputError: folds are none of these, or traced; a splitter refuses the molecules; a split
            has no rows, or rows that do not exist or that are on both its sides.

    >>> read_folds([([0, 1], [2, 3]), ([2, 3], [0, 1])], np.zeros((4, 1)))
    array([1, 1, 0, 0])
    >>> len(read_folds([([0, 1], [2, 3]), ([0, 2], [1, 3])], np.zeros((4, 1))).pairs)
    2
    """
    return _read(folds, X, Y)[0]


def read_ids(folds: Any, X: Any, Y: Any = None, *, what: str) -> int | np.ndarray:
    """Return folds that hold every molecule out once and train on all others; see `read_folds`.

    Args:
        what: what needs such folds, for the error.

    Raises:
        InputError: as `read_folds`, and where other splits are given.
    """
    found, problem = _read(folds, X, Y)
    if isinstance(found, Splits):
        raise InputError(
            f"{what} needs folds that hold every molecule out once, such as those of KFold, "
            f"GroupKFold, StratifiedKFold or LeaveOneGroupOut, got {problem}; cpd and ladder take "
            "any splitter"
        )
    return found


def _read(folds: Any, X: Any, Y: Any) -> tuple[int | np.ndarray | Splits, str]:
    """Return folds, and of splits why they are those of no fold ids."""
    if isinstance(folds, jax.core.Tracer):
        raise InputError(
            "folds must be concrete: fold ids set array shapes and cannot be traced; "
            "make them outside jit and close over them"
        )
    pairs = _pairs(folds, X, Y)
    if pairs is not None:
        return _splits(pairs, len(X))
    if hasattr(folds, "__len__") and not isinstance(folds, str):
        return folds, ""  # what else there is row by row, `folds.cross_validation` checks
    if isinstance(folds, int | np.integer):
        return int(folds), ""
    raise InputError(
        "folds must be a whole number, one fold id a molecule, a splitter such as "
        f"sklearn.model_selection.KFold(5) or pairs of (train, test) rows, got {folds!r}"
    )


def _pairs(folds: Any, X: Any, Y: Any) -> Iterable[Any] | None:
    """Return the pairs of (train, test) rows that folds stand for; None where they are others."""
    split = getattr(folds, "split", None)
    if callable(split) and not isinstance(folds, str | bytes):
        return _split(folds, X, Y)
    is_list = isinstance(folds, list | tuple) and len(folds) > 0
    if is_list and all(isinstance(f, list | tuple) and len(f) == 2 for f in folds):
        return folds if all(np.ndim(rows) for pair in folds for rows in pair) else None
    return folds if isinstance(folds, Iterator) else None


def _split(splitter: Any, X: Any, Y: Any) -> Iterator[Any]:
    """Return what a splitter makes of the molecules, with its complaints as ours."""
    seen = np.zeros((len(X), 1)) if any_traced(X) or np.ndim(X) != 2 else np.asarray(X)
    one = Y is not None and not any_traced(Y) and np.ndim(Y) == 2 and np.shape(Y)[1] == 1
    try:
        yield from splitter.split(seen, np.asarray(Y)[:, 0] if one else None)
    except InputError:
        raise
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{type(splitter).__name__} does not split these {len(X)} molecules: "
            f"{' '.join(str(error).split())[:200]}; where it needs labels or groups, give "
            "folds=splitter.split(X, labels, groups)"
        ) from None


def _splits(pairs: Iterable[Any], n: int) -> tuple[np.ndarray | Splits, str]:
    """Return the fold ids that make the same splits, or else the splits and why there are none."""
    ids = np.full(n, -1)
    found, problem = [], ""
    for k, pair in enumerate(pairs):
        train, test = _sides(k, pair, n)
        others, again = n - len(train) - len(test), ids[test] >= 0
        if again.any():
            problem = problem or f"molecule {test[again.argmax()]} held out twice"
        if others:
            problem = problem or f"{others} molecules on no side of split {k}"
        ids[test] = k
        found.append((train, test))
        check_rows("all splits", len(found) * n)
    if not found:
        raise InputError("folds hold no split: give pairs of (train, test) rows")
    if (ids < 0).any():
        problem = problem or f"molecule {(ids < 0).argmax()} never held out"
    return (Splits(tuple(found)), problem) if problem else (ids, "")


def _sides(k: int, pair: Any, n: int) -> tuple[Int[np.ndarray, " row"], Int[np.ndarray, " row"]]:
    """Return the rows of one split that are trained on and held out."""
    try:
        train, test = pair
    except (TypeError, ValueError):
        raise InputError(
            f"split {k} must be a pair of (train, test) rows, got {type(pair).__name__}"
        ) from None
    sides = (
        read_rows(f"the training rows of split {k}", train, n),
        read_rows(f"the held-out rows of split {k}", test, n),
    )
    shared = np.intersect1d(*sides)
    if len(shared):
        raise InputError(
            f"split {k} trains on {len(shared)} molecules that it holds out, the first is row "
            f"{shared[0]}: a score on them says nothing"
        )
    return sides


def read_rows(what: str, rows: Any, n: int) -> Int[np.ndarray, " row"]:
    """Return rows given by number, or by a mask of all n rows.

    Raises:
        InputError: they are neither, none at all, or the same row twice.
    """
    try:
        array = np.asarray(rows)
    except ValueError:  # lists of different lengths
        array = np.empty(0)
    if array.dtype == bool and array.shape == (n,):
        array = np.flatnonzero(array)
    whole = array.ndim == 1 and np.issubdtype(array.dtype, np.integer) and len(array) > 0
    if not whole or array.min() < 0 or array.max() >= n or len(np.unique(array)) < len(array):
        raise InputError(f"{what} must be different whole numbers from 0 to {n - 1}, at least one")
    return array.astype(np.int64)
