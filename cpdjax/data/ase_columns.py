"""Columns of targets read from a list of `ase.Atoms`: their info, arrays and stored results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from ase import Atoms

from cpdjax.errors import InputError, UnknownNameError

# Stored ASE calculator results that are kept, with ASE's own units.
_RESULTS = {"energy": "eV", "dipole": "e·Å"}


_ATOM_RESULTS = {"forces": "eV/Å", "charges": "e", "magmoms": "μB"}


def with_results(frame: Atoms) -> dict[str, Any]:
    """`info` and the calculator's stored results per structure (never a new calculation)."""
    results = getattr(frame.calc, "results", {})
    return {k: results[k] for k in _RESULTS if k in results} | dict(frame.info)


def result_units(frames: Sequence[Atoms], targets: Any) -> dict[str, str]:
    """Units of calculator results; a user's own entry of that name has units unknown to us."""
    own = {key for frame in frames for key in (*frame.info, *frame.arrays)}
    if isinstance(targets, (Mapping, pd.DataFrame)):
        own |= set(targets)
    return {k: unit for k, unit in (_RESULTS | _ATOM_RESULTS).items() if k not in own}


def in_all(key: str, rows: Iterable[Mapping[str, Any]]) -> bool:
    return all(key in row for row in rows)


def strings(key: str, rows: Iterable[Mapping[str, Any]]) -> np.ndarray:
    return np.array([str(row[key]) for row in rows])


def is_whole(key: str, columns: Mapping[str, np.ndarray]) -> bool:
    column = columns.get(key)
    return column is not None and column.ndim == 1 and bool((column == np.rint(column)).all())


def columns_of(rows: Sequence[Mapping[str, Any]], skip: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The entries of `rows` that all have and that stack to numbers, at most vectors."""
    columns = {}
    for key in rows[0]:
        if key in skip or not in_all(key, rows):
            continue
        values = [np.asarray(row[key]) for row in rows]
        if all(v.shape == values[0].shape and v.ndim < 2 and v.dtype.kind in "iuf" for v in values):
            columns[str(key)] = np.stack(values)
    return columns


def named_column(
    key: str, found: Mapping[str, np.ndarray], rows: Sequence[Mapping[str, Any]]
) -> np.ndarray:
    """A target asked for by name, or the reason why it is none."""
    if key in found:
        return found[key]
    lacking = [i for i, row in enumerate(rows) if key not in row]
    if len(lacking) == len(rows):
        raise UnknownNameError("target", key, found)
    if lacking:
        raise InputError(
            f"target {key!r} is missing from {len(lacking)} of {len(rows)} structures, the first "
            f"number {lacking[0]}; select those that have it"
        )
    raise InputError(f"target {key!r} is not a number, or a vector of one length, everywhere")


def atom_columns(frames: Sequence[Atoms]) -> dict[str, np.ndarray]:
    """Numeric per-atom arrays and stored results that every structure has in one width."""
    rows = [
        {k: v for k, v in getattr(frame.calc, "results", {}).items() if k in _ATOM_RESULTS}
        | {k: v for k, v in frame.arrays.items() if k not in ("numbers", "positions")}
        for frame in frames
    ]
    columns = {}
    for key in rows[0]:
        values = [row[key] for row in rows if key in row]
        numeric = all(v.dtype.kind in "iuf" and v.ndim < 3 for v in values)
        if len(values) == len(rows) and numeric and len({v.shape[1:] for v in values}) == 1:
            columns[key] = np.concatenate(values)
    return columns
