"""Compare geometries of one molecule with each other: deviations from the mean of their group.

Within a group composition is constant, and so is the graph of the bonds where its geometries have
the same bonds. A feature less its mean over the group holds nothing of either: what predicts the
deviations of a target is geometry and nothing else. Nothing is fitted for this, so that training
and held-out rows are treated alike, as long as folds keep groups whole.
"""

from __future__ import annotations

from typing import Any, overload

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Int

from cpdjax.errors import InputError
from cpdjax.machine.tracing import any_traced
from cpdjax.probes.folds import Splits, group_folds

#: A column is constant in all groups where it deviates by no more than so many roundings.
_ROUNDINGS = 100


def deviations(values: Any, groups: Any) -> Any:
    """Subtract from every row the mean of its group.

    What is constant in every group becomes exactly zero, also where it differs by rounding: by 100
    eps of a column's largest magnitude at most.

    Args:
        values: rows of any shape, such as features (row, feature), vectors (row, channel, m) or an
            `IrrepsArray`. The vectors of one group must be in one frame.
        groups: the group of every row, such as the molecule that it is a geometry of.

    Raises:
        InputError: there is not one group for each row.

    >>> deviations(np.array([[1.0, 5.0], [3.0, 5.0], [9.0, 7.0]]), ["a", "a", "b"]).tolist()
    [[-1.0, 0.0], [1.0, 0.0], [0.0, 0.0]]
    """
    if hasattr(values, "irreps"):  # an `IrrepsArray`, whose package is not imported for this
        return type(values)(values.irreps, deviations(values.array, groups))
    xp: Any = jnp if any_traced(values) else np
    x = values if any_traced(values) else np.asarray(values)
    if not xp.issubdtype(x.dtype, xp.floating):
        x = x.astype(np.float64)
    first, group = _groups(groups, len(x))
    # About a row of the group, so that equal rows deviate by exactly nothing.
    about = x - x[first][group]
    sums = jnp.zeros_like(about[first]).at[group].add(about) if xp is jnp else _sums(about, group)
    counts = np.bincount(group).reshape(-1, *[1] * (x.ndim - 1)).astype(x.dtype)
    left = about - (sums / counts)[group]
    if xp is jnp:
        return left
    rounding = _ROUNDINGS * np.finfo(x.dtype).eps * np.abs(x).max(0)
    return np.where((np.abs(left) > rounding).any(0), left, np.zeros_like(left))


def no_composition(C: Any, groups: Any) -> Any:
    """Return what deviations keep of composition, which is nothing: zeros.

    Raises:
        InputError: rows of one group differ in composition, of which something would be kept; or
            there is not one group for each row.
    """
    left = deviations(C, groups)
    if not any_traced(left) and left.any():
        row = int(left.any(1).argmax())
        raise InputError(
            f"row {row} differs in composition from other rows of its group: projection "
            '"within" compares geometries of one molecule'
        )
    return left


@overload
def whole_folds(
    folds: int | np.ndarray, groups: Any, rows: int, seed: int
) -> Int[np.ndarray, " row"]: ...
@overload
def whole_folds(folds: Splits, groups: Any, rows: int, seed: int) -> Splits: ...
def whole_folds(
    folds: int | np.ndarray | Splits, groups: Any, rows: int, seed: int
) -> Int[np.ndarray, " row"] | Splits:
    """Return folds that hold out whole groups: `group_folds` where their number is given.

    Raises:
        InputError: the folds tear a group, or `group_folds` raises it.
    """
    first, group = _groups(groups, rows)
    if isinstance(folds, int | np.integer):
        return group_folds(group, int(folds), seed=seed)
    if isinstance(folds, Splits):
        sides = [side for pair in folds.pairs for side in pair]
        members = np.bincount(group)
        counts = [np.bincount(group[side], minlength=len(first)) for side in sides]
        torn = np.any([(n > 0) & (n < members) for n in counts], axis=0)
        _check_whole(torn[group], first, group)
        return folds
    ids = np.asarray(folds)
    _check_whole(ids != ids[first][group], first, group)
    return ids


def _check_whole(torn: Bool[np.ndarray, " row"], first: np.ndarray, group: np.ndarray) -> None:
    if torn.any():
        row = int(torn.argmax())
        raise InputError(
            f"folds hold out a part of the group of rows {first[group[row]]} and {row}: give fold "
            "ids that keep groups whole, such as cpdjax.group_folds(groups)"
        )


def _groups(groups: Any, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first row of each group, and the group of every row as a number from 0."""
    if groups is None:
        raise InputError(
            'projection "within" needs groups: for every row, the molecule it is a geometry of'
        )
    labels = np.asarray(groups)
    if labels.shape != (rows,):
        raise InputError(f"groups must be one label for each of {rows} rows, got {labels.shape}")
    _, first, group = np.unique(labels, return_index=True, return_inverse=True)
    return first, group


def _sums(values: np.ndarray, group: Int[np.ndarray, " row"]) -> np.ndarray:
    """Return the sum of the rows of each group."""
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(group.max() + 1))
    return np.add.reduceat(values[order], starts, axis=0)
