"""Check the values that a caller passes, and refuse them with errors of one line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from cpdjax.bounds import MOST_COPIES, MOST_ROWS
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


def check_count(name: str, value: Any, least: int = 1) -> None:
    """Refuse a number of repetitions, such as permutations, that is not whole or out of bounds.

    Raises:
        InputError: if `value` is not an integer from `least` to `MOST_COPIES`; the error calls
            it `name`.
    """
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < least:
        raise InputError(f"{name} must be at least {least} and a whole number, got {value!r}")
    if value > MOST_COPIES:
        raise InputError(f"{name} must be at most {MOST_COPIES:,}, got {value:.3g}")


def check_names(kind: str, names: Iterable[str]) -> None:
    """Refuse names that files of results cannot hold: with NUL, or bytes that are no text.

    Raises:
        InputError: if there is such a name; the error says what it names.
    """
    for name in names:
        if "\0" in name or any("\ud800" <= c <= "\udfff" for c in name):
            raise InputError(
                f"{kind} {name!r} holds NUL or bytes that are no text, which files of results "
                "cannot hold: rename it"
            )


def check_rows(what: str, rows: int) -> None:
    """Refuse work that would hold more than `MOST_ROWS` rows, before memory is given to it.

    Raises:
        InputError: if it would; the error calls the rows `what`.
    """
    if rows > MOST_ROWS:
        raise InputError(f"{what} would be {rows:.3g} rows, more than {MOST_ROWS:,}: take fewer")
