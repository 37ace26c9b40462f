"""Check the values that a caller passes, and refuse them with errors of one line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cpdjax.errors import InputError


def check_finite(name: str, array: Any, labels: Sequence[str] | None = None) -> None:
    """Refuse an array with values that are NaN or infinite.

    Args:
        name: what the error calls the array.
        array: numbers with axes (molecule, column).
        labels: the names of the columns; by default the error gives the column's index.

    Raises:
        InputError: if a value is not finite; the error names the first molecule and column.
    """
    array = np.asarray(array)
    with np.errstate(all="ignore"):
        if np.isfinite(array.sum()):  # one pass without a temporary array settles nearly every case
            return
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        row, column = bad[0]
        where = column if labels is None else labels[column]
        raise InputError(
            f"{name} has {len(bad)} NaN or infinite values, the first at molecule {row}, "
            f"column {where}; remove or impute them"
        )


def check_count(name: str, value: Any) -> None:
    """Refuse a number of repetitions, such as permutations, that is not whole or not positive.

    Raises:
        InputError: if `value` is not an integer of at least 1; the error calls it `name`.
    """
    if not isinstance(value, int | np.integer) or value < 1:
        raise InputError(f"{name} must be at least 1 and a whole number, got {value!r}")
