"""Checks of what a caller hands over, as one-line errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cpdjax.errors import InputError


def check_finite(name: str, array: Any, labels: Sequence[str] | None = None) -> None:
    """Raise InputError naming the first molecule and column that is NaN or infinite."""
    array = np.asarray(array)
    with np.errstate(all="ignore"):
        if np.isfinite(array.sum()):  # one pass without a temporary, right in nearly every case
            return
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        row, column = bad[0]
        where = column if labels is None else labels[column]
        raise InputError(
            f"{name} has {len(bad)} NaN or infinite values, the first at molecule {row}, "
            f"column {where}: remove or impute them"
        )


def check_count(name: str, value: Any) -> None:
    """Raise InputError for a number of draws that is not whole or not positive."""
    if not isinstance(value, int | np.integer) or value < 1:
        raise InputError(f"{name} must be at least 1 and whole, got {value!r}")
