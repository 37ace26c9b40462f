"""Read tables (CSV, Parquet, DataFrames, mappings): what they name, and their columns of numbers.

One strict reader serves features and targets, molecules and structures. Row numbers and identifiers
are never numbers to fit, and whatever else is left out is named in one warning.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import jax
import numpy as np
import pandas as pd
from jaxtyping import Float

from cpdjax.data.tables.columns import numbers_of, texts_of
from cpdjax.data.tables.files import read_columns, stem
from cpdjax.data.tables.identity import ROLES, roles
from cpdjax.errors import InputError, LeftOutWarning, UnknownNameError
from cpdjax.omissions import listed, note
from cpdjax.real_arrays import labels_rows, real_array

#: Columns that every table has, and whose leaving out is no news.
_QUIET = frozenset({*ROLES, "name", "names"})
_LISTED = 20  # names in one warning
_COUNTED = 20  # rows from which on a column 0, 1, 2, ... is told

Source: TypeAlias = str | Path | pd.DataFrame | Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """Hold what a table says: its columns of numbers, who its rows are, and what was left out."""

    name: str
    rows: int
    numbers: dict[str, Float[np.ndarray, " row"] | Float[np.ndarray, "row component"]]
    """Hold the columns of numbers by name, with NaN for missing values."""
    texts: dict[str, np.ndarray]
    """Hold the columns "id", "formula", "smiles" and "cif", those that there are, as (row,)."""
    left_out: dict[str, str]
    """Say by name why other columns are left out."""

    def select(self, rows: Any) -> Table:
        """Return the table with the given rows, in their order."""
        numbers = {name: values[rows] for name, values in self.numbers.items()}
        texts = {name: values[rows] for name, values in self.texts.items()}
        return replace(self, rows=len(rows), numbers=numbers, texts=texts)

    def matched(self, ids: np.ndarray | None, molecules: int) -> Table:
        """Return the rows of the molecules with the given ids, in their order.

        Where the molecules have no ids (None), or the table none, rows go by order.

        Raises:
            InputError: if a molecule has no row or several; or if rows go by order and there are
                more or fewer than molecules.

        Warns:
            LeftOutWarning: if rows belong to none of the molecules.
        """
        own = self.texts.get("id")
        if ids is None or own is None:
            if self.rows == molecules:
                return self
            raise InputError(
                f"the table of targets has {self.rows} rows for {molecules} structures; expected "
                "one row each, or a column 'id' and an entry 'id' in every structure's info"
            )
        return self.select(rows_of("the table of targets", own, ids))


def rows_of(what: str, own: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Return the rows of the molecules with the given ids, in their order.

    Args:
        what: what errors call that which has the rows.
        own: the id of each row.
        ids: the ids of the molecules.

    Raises:
        InputError: if an id stands for several rows, or a molecule has no row.

    Warns:
        LeftOutWarning: if rows belong to none of the molecules.
    """
    index = pd.Index(own)
    if index.has_duplicates:
        twice = str(own[index.duplicated()][0])
        raise InputError(f"{what} has id {twice!r} more than once")
    rows = index.get_indexer(pd.Index(ids))
    if (rows < 0).any():
        raise InputError(
            f"{what} has no row for {np.sum(rows < 0)} of {len(ids)} molecules, the first "
            f"{str(ids[np.argmin(rows)])!r}; expected its id in 'id'; without any 'id' rows "
            "go by order"
        )
    others = {str(own[i]): "no such molecule" for i in np.setdiff1d(np.arange(len(own)), rows)}
    if others:
        note("rows", {f"{len(others)} of {len(own)} rows of {what}": "of none of the molecules"})
        warnings.warn(
            f"{what}: {len(others)} of {len(own)} rows are left out, {listed(others)}",
            LeftOutWarning,
            stacklevel=4,
        )
    return rows


TABLES = (str, Path, pd.DataFrame, Mapping, Table)
"""Hold the types of what stands for a table, and not for names of targets."""


def read_table(source: Source | Table, names: Sequence[str] | None = None) -> Table:
    """Return what a table says, from a CSV or Parquet file, a DataFrame or a mapping of columns.

    The columns `id`, `formula`, `smiles` and `cif` (see `identity.roles`) hold texts. Columns that
    number or identify rows (see `real_arrays.labels_rows`) and the index of a DataFrame are left
    out, as are columns of text, dates, categories, lists and complex numbers.

    Args:
        source: the table. Columns of a mapping may have two axes (row, component).
        names: the columns of numbers to read; by default all.

    Raises:
        FileError: if the file cannot be read.
        InputError: if columns differ in length, two have one name, a column holds numbers and
            words, or one that is asked for by name holds no numbers or numbers its rows.
        UnknownNameError: if there is no column that is asked for.

    >>> table = read_table({"id": ["a", "b"], "gap": [1, 2], "note": ["new", "old"]})
    >>> table.numbers, table.left_out
    ({'gap': array([1., 2.])}, {'note': 'text'})
    """
    if isinstance(source, Table):
        return source
    name = stem(Path(source)) if isinstance(source, str | Path) else "table"
    columns = _columns_of(source)
    own = roles(key for key, _ in columns)
    texts = {
        role: texts_of(f"column {key!r}", dict(columns)[key], object if role == "cif" else str)
        for role, key in own.items()
    }
    numbers: dict[str, np.ndarray] = {}
    left_out: dict[str, str] = {}
    for key, column in columns:
        if labels_rows(key):
            left_out[key] = "it numbers or names the rows"
        elif key not in own.values() and (names is None or key in names):
            found = numbers_of(f"column {key!r}", column)
            if isinstance(found, str):
                left_out[key] = found
            else:
                numbers[key] = found
    if names is not None:
        known = [key for key, _ in columns if not labels_rows(key)]
        numbers = {key: _asked(key, numbers, left_out, known) for key in names}
        left_out = {}
    _warn_of_counting(numbers)
    left_out = {key: why for key, why in left_out.items() if key not in _QUIET}
    return Table(name, len(columns[0][1]), numbers, texts, left_out)


def _columns_of(source: Source) -> list[tuple[str, Any]]:
    """Return the columns of a table by name, all of one length and no two of one name."""
    if isinstance(source, str | Path):
        columns: list[tuple[str, Any]] = list(read_columns(Path(source)))
    elif isinstance(source, pd.DataFrame):
        index = source.index
        named = [level for level in index.names if str(level).lower() in ROLES]
        columns = [(str(level), pd.Series(index.get_level_values(level))) for level in named]
        keys = ["" if key is None or key != key else str(key) for key in source.columns]
        columns += [(key, source.iloc[:, i]) for i, key in enumerate(keys)]
    elif isinstance(source, Mapping):
        columns = [(str(key), _as_column(str(key), values)) for key, values in source.items()]
        check_one_index(columns)
    else:
        raise InputError(
            f"a table is a file, a DataFrame or a mapping of columns, got {type(source).__name__}"
        )
    if len({len(column) for _, column in columns}) != 1:
        sizes = {key: len(column) for key, column in columns[:_LISTED]}
        raise InputError(f"the columns make no table, which has columns of one length: {sizes}")
    counts = Counter(key for key, _ in columns if not labels_rows(key))
    twice = [key for key, count in counts.items() if count > 1]
    if twice:
        raise InputError(f"there are {counts[twice[0]]} columns {twice[0]!r}: rename or leave out")
    return columns


def _as_column(name: str, values: Any) -> Any:
    """Return one column of a mapping: an array of numbers, or a column of pandas."""
    if isinstance(values, pd.Series):
        return values
    if isinstance(values, list | tuple):
        nested = values and isinstance(values[0], list | tuple | np.ndarray | jax.Array)
        if nested:
            return np.asarray(real_array(f"column {name!r}", values))
        texts = any(isinstance(value, str) for value in values)
        return pd.Series(values, dtype=object if texts else None)  # in which any text is allowed
    if isinstance(values, range | pd.Index | pd.api.extensions.ExtensionArray):
        return pd.Series(values)
    array = values if isinstance(values, np.ndarray) else np.asarray(values)
    if array.ndim == 0:
        raise InputError(f"the columns make no table: {name!r} is {array!r}, and no column")
    if array.ndim == 1 and array.dtype.kind in "OSUMmc":
        return pd.Series(array)
    return np.asarray(real_array(f"column {name!r}", values))


def check_one_index(columns: Sequence[tuple[str, Any]]) -> None:
    """Refuse columns of pandas whose rows have other labels, because rows go by order."""
    framed = pd.Series | pd.DataFrame
    labels = [(key, column.index) for key, column in columns if isinstance(column, framed)]
    for key, index in labels[1:]:
        if len(index) == len(labels[0][1]) and not index.equals(labels[0][1]):
            raise InputError(
                f"the rows of columns {labels[0][0]!r} and {key!r} have different labels: join "
                "them in one DataFrame"
            )


def _asked(
    name: str, numbers: Mapping[str, Any], left_out: Mapping[str, str], known: Sequence[str]
) -> np.ndarray:
    """Return the numbers of a column that is asked for by name."""
    if name in numbers:
        return numbers[name]
    if name in left_out or name in known:
        why = left_out.get(name, "it says what the molecules are")
        raise InputError(f"column {name!r} can be no target: {why}; rename it if it is one")
    raise UnknownNameError("target", name, known)


def _warn_of_counting(numbers: Mapping[str, np.ndarray]) -> None:
    """Warn of columns that count the rows, whatever they are called."""
    for name, values in numbers.items():
        count = np.arange(len(values))
        if len(count) >= _COUNTED and any(np.array_equal(values, count + i) for i in (0, 1)):
            warnings.warn(
                f"column {name!r} counts the rows: leave it out if it numbers them", stacklevel=4
            )
