"""Read columns of targets from a list of `ase.Atoms`: their info, arrays and stored results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms

from cpdjax.errors import InputError, UnknownNameError

# The stored results of an ASE calculator that are kept, with ASE's own units.
_RESULTS = {"energy": "eV", "dipole": "e·Å"}
_ATOM_RESULTS = {"forces": "eV/Å", "charges": "e", "magmoms": "μB"}


def with_results(frame: Atoms) -> dict[str, Any]:
    """Return `frame.info` and the stored results of its calculator; nothing is calculated anew."""
    return _stored(frame, _RESULTS) | dict(frame.info)


def result_units(frames: Sequence[Atoms], targets: Any) -> dict[str, str]:
    """Return the units of calculator results, except of names that the user's own entries have."""
    own = {key for frame in frames for key in (*frame.info, *frame.arrays)}
    if isinstance(targets, Mapping):
        own |= set(targets)
    return {k: unit for k, unit in (_RESULTS | _ATOM_RESULTS).items() if k not in own}


def in_all(key: str, rows: Iterable[Mapping[str, Any]]) -> bool:
    """Return whether every row has an entry `key`."""
    return all(key in row for row in rows)


def strings(key: str, rows: Iterable[Mapping[str, Any]]) -> np.ndarray:
    """Return the entry `key` of every row as text."""
    return np.array([str(row[key]) for row in rows])


def is_whole(key: str, columns: Mapping[str, np.ndarray]) -> bool:
    """Return whether there is a column `key` that holds one whole number for each structure."""
    column = columns.get(key)
    return column is not None and column.ndim == 1 and bool((column == np.rint(column)).all())


def columns_of(rows: Sequence[Mapping[str, Any]], skip: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Return the entries that every row has as a number, or as a vector of one length."""
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
    """Return the column `key`, or say why it cannot be a target.

    Raises:
        UnknownNameError: if no structure has such an entry.
        InputError: if some structures lack it, or it is not numeric.
    """
    if key in found:
        return found[key]
    lacking = [i for i, row in enumerate(rows) if key not in row]
    if len(lacking) == len(rows):
        raise UnknownNameError("target", key, found)
    if lacking:
        raise InputError(
            f"target {key!r} is missing from {len(lacking)} of {len(rows)} structures, the first "
            f"number {lacking[0]}; select the structures that have it"
        )
    raise InputError(
        f"target {key!r} is not a number, or a vector of one length, in every structure"
    )


def atom_columns(frames: Sequence[Atoms]) -> dict[str, np.ndarray]:
    """Return the numeric columns of atoms that every structure has, and in one width."""
    rows = [
        _stored(frame, _ATOM_RESULTS)
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


def _stored(frame: Atoms, names: Iterable[str]) -> dict[str, Any]:
    """Return the results of `names` that the structure's calculator has stored."""
    results = getattr(frame.calc, "results", {})
    return {name: results[name] for name in names if name in results}
