"""Read a list of `ase.Atoms`: targets and electrons from their info, arrays and stored results."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from ase import Atoms

from cpdjax.errors import InputError, LeftOutWarning, UnknownNameError
from cpdjax.omissions import note

# The stored results of an ASE calculator that are kept, with ASE's own units.
_RESULTS = {"energy": "eV", "dipole": "e·Å"}
_ATOM_RESULTS = {"forces": "eV/Å", "charges": "e", "magmoms": "μB"}
# What the entries of `info` say of the electrons, by name without case, spaces, _ and -. A spin is
# written as S, as 2S or as the multiplicity 2S + 1, depending on the program.
_ELECTRONIC = {
    **dict.fromkeys(("charge", "totalcharge", "netcharge", "molecularcharge", "q"), "charge"),
    **dict.fromkeys(("totcharge", "chargetotal", "formalcharge"), "charge"),
    **dict.fromkeys(("unpaired", "unpairedelectrons", "numunpairedelectrons"), "unpaired"),
    **dict.fromkeys(("nunpaired", "uhf", "nupdown"), "unpaired"),
    **dict.fromkeys(("multiplicity", "spinmultiplicity", "mult"), "multiplicity"),
    **dict.fromkeys(("spin", "totalspin"), "spin"),
}
# The quantity that a model reads, and what it can be for each value of an entry.
_MEANINGS: dict[str, tuple[str, Callable[[float], tuple[float, ...]]]] = {
    "charge": ("charge", lambda q: (q,)),
    "unpaired": ("unpaired", lambda n: (n,)),
    "multiplicity": ("unpaired", lambda m: (m - 1,)),
    "spin": ("unpaired", lambda s: (s, 2 * s, s - 1)),
}
_NEUTRAL = {
    "charge": ("total charge", "neutral"),
    "unpaired": ("number of unpaired electrons", "closed-shell"),
}
_MANY = 1000  # no molecule has such a charge (our choice)
# The arrays that ASE itself keeps of atoms, which nobody wrote as targets.
_OWN_ARRAYS = {
    *("tags", "momenta", "masses", "magmoms", "charges", "initial_magmoms", "initial_charges"),
    "spacegroup_kinds",
}


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


def electrons_of(
    frames: Sequence[Atoms],
    rows: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    table: Mapping[str, np.ndarray],
) -> tuple[dict[str, np.ndarray], set[str]]:
    """Return the charges and unpaired electrons that entries give, and the keys of these entries.

    A structure without such an entry beside others that have one is taken as neutral, or as without
    unpaired electrons, with a warning. A spin that can be S, 2S or 2S + 1 is left out with a
    warning. Columns of a table of targets count as entries where all their values are whole.

    Raises:
        InputError: if an entry is no whole number, or two entries contradict each other; the error
            names the structure.
    """
    rows = _with_table(rows, names, table)
    known = [key for key in dict.fromkeys(key for row in rows for key in row) if _kind(key)]
    found: dict[str, np.ndarray] = {}
    used: set[str] = set()
    for quantity in _NEUTRAL:
        keys = [key for key in known if _MEANINGS[_kind(key)][0] == quantity]
        given = {}
        for i, row in enumerate(rows if keys else ()):
            entries = {k: row[k] for k in keys if k in row and np.size(row[k]) == 1}
            if entries:
                given[i] = _common(entries, quantity, names[i])
        clear = {i: meanings.pop() for i, meanings in given.items() if len(meanings) == 1}
        if len(clear) == len(given):
            used.update(key for i in given for key in keys if key in rows[i])
        else:
            first = next(i for i in given if i not in clear)
            _warn_unclear(names[first], len(given) - len(clear), len(rows))
        if clear:
            found[quantity] = _complete(quantity, clear, names)
    if "charge" not in found:
        _warn_of_initial_charges(frames, names)
    return found, used


def _with_table(
    rows: Sequence[Mapping[str, Any]], names: Sequence[str], table: Mapping[str, np.ndarray]
) -> Sequence[Mapping[str, Any]]:
    """Return the structures' entries with the whole numbers of a table that speak of electrons."""
    whole = {k: v.tolist() for k, v in table.items() if _kind(k) and _is_whole(v, len(rows))}
    for key, column in whole.items():
        for name, row, value in zip(names, rows, column, strict=True):
            if key in row and _number(row[key]) != value:
                raise InputError(
                    f"structure '{name}' has {key}={row[key]}, and the table of targets "
                    f"{key}={value:g}, which contradict: keep the right one"
                )
    if not whole:
        return rows
    return [{**row, **{k: v[i] for k, v in whole.items()}} for i, row in enumerate(rows)]


def _warn_unclear(name: str, unclear: int, rows: int) -> None:
    """Warn that spins are left out that can mean several things."""
    warnings.warn(
        f"the spin of structure '{name}' can mean S, 2S or 2S + 1 and is left out in {unclear} of "
        f"{rows} structures: name the entry 'unpaired' or 'multiplicity'",
        stacklevel=5,
    )


def _warn_of_initial_charges(frames: Sequence[Atoms], names: Sequence[str]) -> None:
    """Warn that charges of atoms, which ASE's calculators add up, are not read as a total."""
    totals = [np.sum(frame.arrays.get("initial_charges", 0.0)) for frame in frames]
    if np.abs(totals).max() > 0.5:
        i = int(np.argmax(np.abs(totals)))
        warnings.warn(
            f"initial charges of the atoms of structure '{names[i]}' add up to {totals[i]:+.3g}, "
            "but models read a total charge from the entry 'charge' alone, and take it as neutral",
            stacklevel=5,
        )


@cache  # a large set asks for the same few keys in every structure
def _kind(key: Any) -> str:
    """Return what an entry says of the electrons, "" for nothing."""
    return _ELECTRONIC.get(re.sub("[ _-]", "", str(key)).lower(), "")


def _is_whole(column: np.ndarray, rows: int) -> bool:
    """Return whether a column holds one whole number for each row."""
    numeric = column.shape == (rows,) and column.dtype.kind in "iuf"
    return numeric and bool((column == np.rint(column)).all())


def _common(entries: Mapping[str, Any], quantity: str, name: str) -> set[int]:
    """Return the values of a quantity that all its entries in one structure allow."""
    allowed: set[int] = set()
    for key, value in entries.items():
        possible = _MEANINGS[_kind(key)][1](_number(value))
        whole = {int(x) for x in possible if abs(x) < _MANY and x == int(x)}
        whole = {x for x in whole if quantity == "charge" or x >= 0}
        if not whole:
            raise InputError(
                f"structure '{name}' has {key}={value}; expected a whole number for its "
                f"{_NEUTRAL[quantity][0]}: correct it, or give the entry another name if it is "
                "something else"
            )
        if allowed and not allowed & whole:
            said = " and ".join(f"{k}={v}" for k, v in entries.items())
            raise InputError(f"structure '{name}' has {said}, which contradict: keep the right one")
        allowed = allowed & whole if allowed else whole
    return allowed


def _number(value: Any) -> float:
    """Return a number, or a text such as "+1" and "2-", as a float; NaN for anything else."""
    text = str(np.asarray(value).item()).strip().replace("−", "-")
    signed = re.fullmatch(r"(\d+)([+-])", text)
    try:
        return float(signed[2] + signed[1] if signed else text)
    except ValueError:
        return np.nan


def _complete(quantity: str, given: Mapping[int, int], names: Sequence[str]) -> np.ndarray:
    """Return whole numbers, with 0 and a warning where structures lack one."""
    values = np.zeros(len(names), np.int32)
    values[list(given)] = list(given.values())
    if len(given) < len(names):
        what, zero = _NEUTRAL[quantity]
        first = next(i for i in range(len(names)) if i not in given)
        warnings.warn(
            f"{len(names) - len(given)} of {len(names)} structures have no {what}, the first "
            f"'{names[first]}': they are taken as {zero}",
            stacklevel=5,
        )
    return values


def columns_of(
    rows: Sequence[Mapping[str, Any]], skip: Iterable[str]
) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    """Return the entries that every row has as a number, or as a vector of one length.

    Entries that are so in some rows alone are left out. They are returned with the number of rows
    that lack them.
    """
    columns, left_out = {}, {}
    for key in dict.fromkeys(key for row in rows for key in row):
        if key in skip:
            continue
        values = [np.asarray(row[key]) for row in rows if key in row]
        numbers = [v.dtype.kind in "iuf" for v in values]
        if len(values) == len(rows) and all(numbers) and _one_shape(values, 2):
            columns[str(key)] = np.stack(values)
        elif any(numbers):
            left_out[str(key)] = len(rows) - len(values)
    return columns, left_out


def warn_left_out(what: str, lacking: Mapping[str, int], rows: int) -> None:
    """Warn of numbers that are left out, with how many structures lack each."""
    reasons = {
        key: f"missing from {n} of {rows}" if n else "of several shapes or types"
        for key, n in lacking.items()
    }
    note("targets", reasons)
    if reasons:
        said = [f"{key!r} ({why})" for key, why in reasons.items()]
        more = f" and {len(said) - 8} more" if len(said) > 8 else ""
        warnings.warn(
            f"left out {what} that not every structure has: {', '.join(said[:8])}{more}",
            LeftOutWarning,
            stacklevel=4,
        )


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
    """Return the numeric columns of atoms that every structure has, and in one width.

    Columns that are so in some structures alone are left out with a warning.
    """
    rows = [
        _stored(frame, _ATOM_RESULTS)
        | {k: v for k, v in frame.arrays.items() if k not in ("numbers", "positions")}
        for frame in frames
    ]
    columns, left_out = {}, {}
    for key in dict.fromkeys(key for row in rows for key in row):
        values = [row[key] for row in rows if key in row]
        numbers = [v.dtype.kind in "iuf" for v in values]
        shapes = [np.empty(v.shape[1:]) for v in values]
        if len(values) == len(rows) and all(numbers) and _one_shape(shapes, 2):
            columns[key] = np.concatenate(values)
        elif any(numbers) and key not in _OWN_ARRAYS:
            left_out[key] = len(rows) - len(values)
    warn_left_out("columns of atoms", left_out, len(rows))
    return columns


def _stored(frame: Atoms, names: Iterable[str]) -> dict[str, Any]:
    """Return the results of `names` that the structure's calculator has stored."""
    results = getattr(frame.calc, "results", {})
    return {name: results[name] for name in names if name in results}


def _one_shape(values: Sequence[np.ndarray], axes: int) -> bool:
    """Return whether arrays have one shape, of fewer than `axes` axes."""
    return all(v.shape == values[0].shape and v.ndim < axes for v in values)
