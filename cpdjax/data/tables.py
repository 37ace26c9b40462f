"""Read tables (CSV, Parquet, DataFrames, mappings), and take their columns of numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cpdjax.errors import FileError, InputError


def read_table(path: str | Path) -> pd.DataFrame:
    """Return the table in a Parquet file (suffix .parquet or .pq), or else in a CSV file.

    Raises:
        FileError: if the file cannot be read.
    """
    path = Path(path)
    reader = pd.read_parquet if path.suffix in (".parquet", ".pq") else pd.read_csv
    try:
        return reader(path)
    except (OSError, ValueError) as error:  # pandas' and Arrow's parse errors are ValueErrors
        reason = " ".join(str(error).split())
        raise FileError(f"cannot read {path} as a table: {reason}") from error


def as_table(table: str | Path | pd.DataFrame | Mapping[str, Any]) -> pd.DataFrame:
    """Return a CSV or Parquet file, or a mapping of columns, as a DataFrame.

    Raises:
        FileError: if the file cannot be read.
        InputError: if the columns have different lengths.
    """
    if isinstance(table, pd.DataFrame):
        return table
    if isinstance(table, str | Path):
        return read_table(table)
    try:
        return pd.DataFrame(dict(table))
    except ValueError as error:
        raise InputError(f"the columns make no table: {error}") from None


def numeric_columns(frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return the columns of numbers in float64, with NaN for missing values.

    The column `id` and columns of text are left out.

    Raises:
        InputError: if a column of numbers holds a few words, which are mistakes rather than text.

    >>> numeric_columns(pd.DataFrame({"id": [1, 2], "gap": [1, 2], "formula": ["H2", "CH4"]}))
    {'gap': array([1., 2.])}
    """
    columns = {}
    for name, column in frame.drop(columns="id", errors="ignore").items():
        numbers = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
        words = np.isnan(numbers) & column.notna().to_numpy()
        if not words.any():
            columns[str(name)] = numbers
        elif words.mean() < 0.5:
            row = int(words.argmax())
            raise InputError(
                f"column {str(name)!r}, row {row}: expected a number, got {column.iloc[row]!r}"
            )
    return columns
