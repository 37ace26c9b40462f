"""Read who the molecules of features are, from what stands beside arrays as from tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from numbers import Number
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cpdjax.data.composition import from_formulas, hill
from cpdjax.data.tables.columns import texts_of
from cpdjax.data.tables.identity import roles
from cpdjax.data.tables.table import check_one_index
from cpdjax.errors import InputError

_KNOWN = ("id", "formula")


class Labels(NamedTuple):
    """Hold who molecules are, as the fields of `Features` of the same names."""

    ids: np.ndarray | None = None
    formulas: np.ndarray | None = None


def label_names(names: Iterable[Any]) -> list[str]:
    """Return which arrays hold ids or formulas, by the names that columns of tables have.

    >>> label_names(["features", "ids", "names"])
    ['ids']
    """
    return list(roles(map(str, names), _KNOWN).values())


def labels_of(texts: Mapping[str, np.ndarray]) -> Labels:
    """Return the ids and formulas of molecules from texts by role, formulas in Hill's order.

    Raises:
        InputError: if a formula is none.
    """
    formulas = texts.get("formula")
    return Labels(texts.get("id"), None if formulas is None else hill(*from_formulas(formulas)))


def apart(where: str, arrays: Mapping[Any, Any]) -> tuple[Labels, dict[Any, Any]]:
    """Return the ids and formulas among arrays, and the other arrays.

    Args:
        where: what errors call the arrays.
        arrays: the arrays by name; those of labels are (molecule,) of texts or numbers.

    Raises:
        InputError: if two arrays hold ids, one is not of one axis, or `texts_of` refuses it; or if
            objects of pandas among them label their rows in different ways.

    >>> apart("x", {"f": [[1.0], [2.0]], "ids": ["a", "b"]})
    (Labels(ids=array(['a', 'b'], dtype='<U1'), formulas=None), {'f': [[1.0], [2.0]]})
    """
    names = roles(map(str, arrays), _KNOWN)
    if names:
        check_one_index([(str(key), values) for key, values in arrays.items()])
    texts = {
        role: texts_of(f"{where}, {name!r}", _column(f"{where}, {name!r}", value))
        for role, name in names.items()
        for key, value in arrays.items()
        if str(key) == name
    }
    return labels_of(texts), {k: v for k, v in arrays.items() if str(k) not in names.values()}


def is_column(values: Any) -> bool:
    """Return whether something is one column: an array with one axis, or a list of scalars.

    >>> is_column(["a", "b"]), is_column(np.ones(2)), is_column([[1.0], [2.0]])
    (True, True, False)
    """
    if isinstance(values, list | tuple):
        return all(isinstance(value, str | Number) for value in values)
    return len(getattr(values, "shape", ())) == 1


def check_label(where: str, shape: tuple[int, ...], dtype: Any) -> None:
    """Refuse an array of labels in a file that has another shape, or holds Python objects.

    Raises:
        InputError: if it does.
    """
    if len(shape) != 1:
        raise InputError(
            f"{where} names the molecules, so it must have one axis (molecule,), got shape "
            f"{tuple(shape)}: rename it if it holds features"
        )
    if dtype.kind == "O":
        raise InputError(
            f"{where} names the molecules, but holds Python objects, which are not read: write it "
            "as text, with .astype(str)"
        )


def _column(where: str, values: Any) -> Any:
    """Return labels as one column: as it is, or an array with one axis."""
    if isinstance(values, pd.Series | list | tuple):
        return values
    array = np.asanyarray(values)
    check_label(where, array.shape, np.dtype(str))
    return array
