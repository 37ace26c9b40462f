"""Checkpoints keep the finished units of a running sweep, so that it can be interrupted."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cpdjax import checksums
from cpdjax.errors import FileError
from cpdjax.files import atomic, clean
from cpdjax.provenance import differences, listed, read_record

#: The file in a sweep's folder that says what the sweep is made of.
RECORD = "sweep.json"


class Kind(NamedTuple):
    """Say what the folder of one kind of computation holds."""

    what: str
    """What the computation is called in complaints."""
    record: str
    """The file that says what it is made of."""
    results: str
    """The name of its results, without the suffix."""


SWEEP = Kind("sweep", RECORD, "results")


class Checkpoint:
    """Keep finished units in a folder that belongs to one configuration.

    Without a folder nothing is kept.

    Raises:
        FileError: the folder holds the results of another configuration, or results that no sweep
            in this folder made.
    """

    def __init__(self, folder: Path | None, facts: Mapping[str, Any], kind: Kind = SWEEP):
        self.folder = folder
        if folder is None:
            return
        clean(folder / "units")
        record = folder / kind.record
        if record.exists():
            _check_same(folder, facts, read_record(record), kind)
        else:
            _check_free(folder, kind)
            write_record(folder, facts, kind)

    def load(self, name: str) -> dict[str, Any] | None:
        """Return the arrays of a finished unit, or None where it is still to be computed."""
        path = self._path(name)
        if path is None or not path.exists():
            return None
        arrays = read_unit(path)
        if arrays is None:
            warnings.warn(f"{path} is damaged: it is computed again", stacklevel=2)
        return arrays

    def save(self, name: str, arrays: Mapping[str, Any]) -> None:
        """Write a finished unit, whole or not at all; arrays that are None are left out."""
        path = self._path(name)
        if path is not None:
            with atomic(path) as temporary:
                kept: dict[str, Any] = {k: v for k, v in arrays.items() if v is not None}
                np.savez(temporary, allow_pickle=False, **kept)
                checksums.seal(temporary)

    def _path(self, name: str) -> Path | None:
        return None if self.folder is None else unit_file(self.folder, name)


def unit_file(folder: Path, name: str) -> Path:
    """Return the file that keeps a unit."""
    return folder / "units" / f"{name}.npz"


def read_unit(path: Path) -> dict[str, Any] | None:
    """Return the arrays in the file of a unit, or None where it is missing or damaged."""
    try:
        if not checksums.damaged(path):
            with np.load(path, allow_pickle=False) as arrays:
                return {key: arrays[key] for key in arrays.files}
    except Exception:  # a damaged file can raise nearly anything
        pass
    return None


def write_record(folder: Path, facts: Mapping[str, Any], kind: Kind = SWEEP) -> None:
    """Write what a computation is made of to its folder."""
    record = folder / kind.record
    with atomic(record) as temporary:
        temporary.write_text(json.dumps(facts, indent=1, sort_keys=True), encoding="utf-8")
    checksums.add(folder, [record])


def check_before(folder: Path, facts: Mapping[str, Any], kind: Kind = SWEEP) -> None:
    """Refuse the folder of something else, as far as it can be told before any model runs.

    Raises:
        FileError: the folder holds the results of another configuration, or results that nothing
            of this kind made in this folder.
    """
    record = folder / kind.record
    if not record.exists():
        _check_free(folder, kind)
        return
    known = read_record(record)
    _check_same(folder, facts, {name: known[name] for name in facts if name in known}, kind)


def _check_free(folder: Path, kind: Kind) -> None:
    """Refuse a folder whose own files would be replaced."""
    for name in (*(f"{kind.results}.{end}" for end in ("zarr", "nc", "csv")), "units"):
        if (folder / name).exists():
            raise FileError(
                f"{folder / name} exists, but no {kind.record} that says what it is: choose "
                "another folder, or remove it"
            )


def _check_same(
    folder: Path, facts: Mapping[str, Any], known: Mapping[str, Any], kind: Kind
) -> None:
    changed = differences(facts, known)
    if changed:
        raise FileError(
            f"{folder} holds a {kind.what} of another configuration (different: "
            f"{listed(changed)}): choose another folder (--out), or remove it"
        )
