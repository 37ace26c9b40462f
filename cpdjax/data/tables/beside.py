"""Two tables beside each other, of features and of targets: neither may be part of the other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cpdjax.data.tables.files import is_table
from cpdjax.data.tables.identity import roles
from cpdjax.data.tables.table import Source, Table, read_table
from cpdjax.errors import InputError, UnknownNameError


def is_frame(source: Any) -> bool:
    """Return whether features are a DataFrame, or a file of columns."""
    if isinstance(source, str | Path):
        return is_table(Path(source)) and Path(source).is_file()
    return isinstance(source, pd.DataFrame)


def without(frame: pd.DataFrame, names: Sequence[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return a table without some columns, and these beside those that say what the rows are.

    Raises:
        UnknownNameError: there is no such column.

    >>> frame = pd.DataFrame({"formula": ["CH4"], "gap": [10.0], "f0": [0.5]})
    >>> [list(part) for part in without(frame, ["gap"])]
    [['formula', 'f0'], ['formula', 'gap']]
    """
    columns = [str(column) for column in frame.columns]
    for name in names:
        if name not in columns:
            raise UnknownNameError("target", name, columns)
    chosen = np.array([column in names for column in columns])
    says = np.isin(columns, list(roles(columns, ("id", "formula", "smiles")).values()))
    return frame.loc[:, ~chosen], frame.loc[:, chosen | says]


def check_apart(features: Source, targets: Source | Table) -> None:
    """Refuse two tables of which one predicts itself, or whose rows are labelled in two orders.

    Raises:
        InputError: they share a column of numbers, or labels of rows in another order and no `id`.
    """
    ours, theirs = read_table(features), read_table(targets)
    shared = [
        name
        for name, values in ours.numbers.items()
        if name in theirs.numbers and np.array_equal(values, theirs.numbers[name], equal_nan=True)
    ]
    if shared:
        more = f" and {len(shared) - 1} more" if len(shared) > 1 else ""
        raise InputError(
            f"column {shared[0]!r}{more} would predict itself, as a feature and a target: leave it "
            "out of one, or give one table and name its targets (--targets gap, in Python "
            "sweep(df, targets=['gap']))"
        )
    if "id" in ours.texts and "id" in theirs.texts:
        return
    if isinstance(features, pd.DataFrame) and isinstance(targets, pd.DataFrame):
        _check_order(features.index, targets.index)


def _check_order(ours: pd.Index, theirs: pd.Index) -> None:
    if not ours.equals(theirs) and len(ours) == len(theirs) and set(ours) == set(theirs):
        raise InputError(
            "the rows of features and targets have the same labels in another order: put them into "
            "one order (features.loc[targets.index]), or give both a column 'id'"
        )
