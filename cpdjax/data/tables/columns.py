"""Read one column of a table as numbers or as texts; what is neither is told, never guessed."""

from __future__ import annotations

import re
from collections.abc import Callable, Sized
from decimal import Decimal
from numbers import Number, Real
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float

from cpdjax.errors import InputError

#: What stands for a missing number in a column of texts, as pandas and Arrow have it.
_MISSING = pa.array(
    ["", "NA", "N/A", "n/a", "<NA>", "NaN", "nan", "-nan", "NULL", "null", "None", "#N/A"],
    pa.large_string(),
)
_NUMBER = r"^[+-]?(([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|(?i:inf(inity)?))$"
#: Numbers in other notations: hexadecimal, 1.0D+00, 1,5 and 1 234.5, 12 %, 1.5(2), 1±2, <5.
_ALMOST = re.compile(
    r"[<>~≈≤≥+−-]?\s*(0[xX][0-9a-fA-F]+|[\d.,'’_ ]*\d[\d.,'’_ ]*"
    r"([eEdDqQ×*][+−-]?[\d^+−-]*)?(\(\d+\)|±.*)?\s*[%‰]?)"
)
#: Why columns of these types are no numbers.
_KINDS: tuple[tuple[Callable[[pa.DataType], bool], str], ...] = (
    (pa.types.is_null, "no value"),
    (pa.types.is_temporal, "dates or durations"),
    (pa.types.is_nested, "a list in each row"),
    (pa.types.is_dictionary, "categories"),
    (pa.types.is_binary, "bytes"),
)


def numbers_of(where: str, column: Any) -> Float[np.ndarray, " row"] | str:
    """Return a column of numbers in float64, with NaN for missing values, or why it holds none.

    Args:
        where: what errors call the column.
        column: an array of numbers, a column of pandas, or one of Arrow.

    Raises:
        InputError: if some rows hold numbers and others do not, or all hold numbers in a notation
            that is not read, such as 1,5 or 0x1F.

    >>> numbers_of("gap", pd.Series(["1.5", "NA"])), numbers_of("when", pd.Series(["today", ""]))
    (array([1.5, nan]), 'text')
    """
    if isinstance(column, np.ndarray):
        return column.astype(np.float64, copy=False)
    if isinstance(column, pd.Series):
        if isinstance(column.dtype, pd.SparseDtype):
            column = column.sparse.to_dense()
        if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biuf":
            return column.to_numpy(np.float64)
        if column.dtype.kind == "c":
            return "complex numbers"
        try:
            column = pa.array(column, from_pandas=True)
        except (pa.ArrowException, OverflowError, UnicodeError, TypeError):
            return _mixed(where, column)
    if pa.types.is_dictionary(column.type) and pa.types.is_primitive(column.type.value_type):
        column = pc.cast(column, column.type.value_type)  # categories that are numbers
    kind = column.type
    if pa.types.is_decimal(kind) or (
        pa.types.is_primitive(kind) and not pa.types.is_temporal(kind)
    ):
        return _filled(column)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return _parsed(where, pc.cast(column, pa.large_string()))
    return next((reason for test, reason in _KINDS if test(kind)), _called(kind))


def _called(kind: pa.DataType) -> str:
    """Return what a rare type is called."""
    return f"of type {getattr(kind, 'extension_name', kind)}"


def texts_of(where: str, column: Any, kind: type = str) -> np.ndarray:
    """Return a column as texts, (row,) of `kind`, where every row must have one.

    Text such as NaN is text: it is the formula of sodium nitride. Texts of very different lengths
    take least memory as `object`.

    Raises:
        InputError: if a text is missing, or is no text and no number; the error gives its row
            (from 0).
    """
    values = column.to_pylist() if isinstance(column, pa.ChunkedArray | pa.Array) else list(column)
    for row, value in enumerate(values):
        if isinstance(value, Sized | complex) and not isinstance(value, str | bytes):
            raise InputError(f"{where}, row {row}: expected a text, got {type(value).__name__}")
    texts = [_text(value) for value in values]
    if "" in texts:
        row = texts.index("")
        raise InputError(
            f"{where}, row {row}: expected a text, got {values[row]!r}; fill it in or leave the "
            "row out (pandas reads the formula NaN as missing, but for keep_default_na=False)"
        )
    return np.array(texts, kind)


def _text(value: Any) -> str:
    """Return a value as text without blanks around it, and what is missing as an empty text."""
    if value is None or value is pd.NA or value is pd.NaT or value is np.ma.masked:
        return ""
    if isinstance(value, float | np.floating):
        if np.isnan(value):
            return ""
        return str(int(value)) if value == np.rint(value) else str(value)
    return (value.decode(errors="replace") if isinstance(value, bytes) else str(value)).strip()


def _filled(column: Any) -> Float[np.ndarray, " row"]:
    """Return numbers of Arrow in float64, with NaN where there is none."""
    return pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False)


def _parsed(where: str, column: Any) -> Float[np.ndarray, " row"] | str:
    """Return the numbers in a column of texts, or why it holds none; see `numbers_of`."""
    texts = pc.utf8_trim_whitespace(column)
    texts = pc.if_else(pc.is_in(texts, _MISSING), pa.scalar(None, texts.type), texts)
    if texts.null_count == len(texts):
        return "no value"
    try:
        return _filled(texts)
    except pa.ArrowInvalid:
        number = pc.fill_null(pc.match_substring_regex(texts, _NUMBER), True)
    truth = pc.match_substring_regex(texts, "^(true|false)$", ignore_case=True)
    if pc.all(truth).as_py():
        return _filled(pc.match_substring_regex(texts, "^true$", ignore_case=True))
    row = pc.index(number, False).as_py()
    word = texts[row].as_py()
    some = pc.any(pc.and_(number, pc.is_valid(texts))).as_py()
    if some or all(t is None or _ALMOST.fullmatch(t) for t in texts.to_pylist()):
        raise InputError(
            f"{where}, row {row}: expected a number, got {word[:60]!r}; write numbers like -1234.5 "
            "or 1e-3 and nothing where one is missing, or leave the column out"
        )
    return "text"


def _mixed(where: str, column: pd.Series) -> Float[np.ndarray, " row"] | str:
    """Return the numbers in a column of objects of several types, or why it holds none."""
    values = [None if none else v for v, none in zip(column, column.isna(), strict=True)]
    known = [v for v in values if v is not None]
    if all(isinstance(v, str | Real | Decimal | np.bool_) for v in known):
        cells = [None if v is None else _number(v) for v in values]
        return _parsed(where, pa.array(cells, pa.large_string()))
    if all(isinstance(v, Number) for v in known):
        return "complex numbers"
    other = next(i for i, v in enumerate(values) if v is not None and not isinstance(v, Real))
    if any(isinstance(v, Real | Decimal) for v in known):
        raise InputError(
            f"{where}, row {other}: expected a number, got one of type "
            f"{type(values[other]).__name__}; leave the column out"
        )
    return f"objects of type {type(values[other]).__name__}"


def _number(value: Any) -> str:
    """Return a text or a number as text, without loss."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()  # Arrow takes no half characters
    return str(int(value)) if isinstance(value, int | np.integer) else repr(float(value))
