"""Join the folders of sweeps that were made apart, as if one sweep had probed all features."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float

from cpdjax.errors import FileError, InputError
from cpdjax.files import atomic
from cpdjax.provenance import decisive, differences, joined, listed, read_record
from cpdjax.sweeps import results
from cpdjax.sweeps.checkpoint import RECORD, read_unit, unit_file, write_record
from cpdjax.sweeps.left_out import together
from cpdjax.sweeps.significance import adjusted, draws_name
from cpdjax.sweeps.table import OF_EACH, OWN, along_path, paths_of, present
from cpdjax.verification import verify

_ROTATIONS, _LEFT_OUT = "rotations_only", "left_out"
_KEPT = ("units", "features")  # folders


class Sweep(NamedTuple):
    """Hold what a finished sweep left in its folder."""

    folder: Path
    facts: dict[str, Any]
    table: xr.Dataset


@contextmanager
def merged(folders: Sequence[Path], out: Path) -> Iterator[tuple[xr.Dataset, Path]]:
    """Join sweeps in the folder `out`, which is written whole or not at all.

    The block gets the table of all channels, and the folder to save it in. Channels that several
    sweeps have are taken once. p-values are adjusted anew, for all channels.

    Raises:
        InputError: there are fewer than two folders.
        FileError: a folder holds no finished sweep, or is damaged; the sweeps differ in molecules,
            targets, settings or versions, or have different features under one name; or there is
            something at `out`.
    """
    if len(folders) < 2:
        raise InputError(f"merge joins two folders or more, got {len(folders)}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileError(f"{out} exists: choose another folder for what is joined, or remove it")
    sweeps = [_read(folder) for folder in folders]
    for other in sweeps[1:]:
        _check_same(sweeps[0], other)
    facts = _facts(sweeps)
    table = _table(sweeps, facts)
    with atomic(out) as temporary:
        temporary.mkdir()
        for sweep in sweeps:
            _copy(sweep.folder, temporary)
        write_record(temporary, facts)
        yield table, temporary


def _read(folder: Path) -> Sweep:
    """Read a finished sweep, of which nothing may be damaged."""
    if not (folder / RECORD).is_file():
        raise FileError(f"{folder} holds no sweep: give folders that `cpdjax sweep --out` wrote")
    for item in verify(folder):
        if item.verdict == "damaged":
            raise FileError(f"{item.path} is damaged ({item.reason}): run its sweep again")
    facts, table = read_record(folder / RECORD), results.load(folder)
    changed = differences(results.attributes(decisive(facts)), table.attrs)
    if changed:
        raise FileError(
            f"the results in {folder} are not those of its {RECORD} (different: "
            f"{listed(changed)}): run its sweep again"
        )
    return Sweep(folder, facts, table)


def _check_same(first: Sweep, other: Sweep) -> None:
    """Refuse sweeps that one sweep could not have been."""
    shared, theirs = (_of_all(sweep.facts) for sweep in (first, other))
    changed = differences(shared, theirs)
    if changed:
        raise FileError(
            f"{other.folder} and {first.folder} cannot be joined (different: {listed(changed)}): "
            "run both sweeps with the same molecules, targets, settings and versions"
        )
    for kind in OF_EACH:
        ours, known = first.facts.get(kind, {}), other.facts.get(kind, {})
        changed = sorted(name for name in ours.keys() & known if ours[name] != known[name])
        if changed:
            raise FileError(
                f"{other.folder} and {first.folder} have different features under one name "
                f"({listed(changed)}): leave one out, or run its sweep with another name"
            )


def _of_all(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in facts.items()
        if name not in (*OF_EACH, _ROTATIONS, _LEFT_OUT)
    }


def _facts(sweeps: Sequence[Sweep]) -> dict[str, Any]:
    """Return what a sweep of all features would record."""
    facts = joined([sweep.facts for sweep in sweeps])
    for kind in OF_EACH:
        facts[kind] = {k: v for sweep in sweeps for k, v in sweep.facts.get(kind, {}).items()}
    facts[_ROTATIONS] = sorted({name for sweep in sweeps for name in sweep.facts[_ROTATIONS]})
    facts[_LEFT_OUT] = together(sweep.facts.get(_LEFT_OUT, {}) for sweep in sweeps)
    return facts


def _table(sweeps: Sequence[Sweep], facts: Mapping[str, Any]) -> xr.Dataset:
    """Return one table of all channels: models as the sweeps have them, layers along the path."""
    tables = [sweep.table for sweep in sweeps]
    axes = {a: list(dict.fromkeys(v for t in tables for v in t[a].values.tolist())) for a in OWN}
    axes["layer"] = along_path([path for table in tables for path in paths_of(table)])
    table, *others = (t.reindex(axes, fill_value={"n_features": 0}) for t in tables)
    for other in others:
        known = table.n_features > 0
        of_channels = [name for name, values in table.items() if "model" in values.dims]
        table = table.assign({name: table[name].where(known, other[name]) for name in of_channels})
    table.attrs = results.attributes(facts)
    if "p_value" in table:
        observed = _observed(table, sweeps, facts["features"])
        null = np.moveaxis(table.null_r2_geom.to_numpy(), 3, 0)
        method = facts["settings"]["adjust"]
        data = adjusted(table.p_value.to_numpy(), observed, null, method)
        table["p_adjusted"] = table.p_adjusted.copy(data=data)
    return table


def _observed(
    table: xr.Dataset, sweeps: Sequence[Sweep], hashes: Mapping[str, str]
) -> Float[np.ndarray, "model layer irrep alpha target"]:
    """Return the scores that permutations are compared with, from the units of the sweeps."""
    found = xr.full_like(table.p_value, np.nan)
    for model, layer, irrep in present(table):
        name = draws_name(hashes[f"{model} / {layer} / {irrep}"], "permutation")
        files = [unit_file(sweep.folder, name) for sweep in sweeps]
        units = (read_unit(file) for file in files)
        unit = next((unit for unit in units if unit is not None), None)
        if unit is None:
            raise FileError(f"{files[0].name} is in no folder of units: run its sweep again")
        found.loc[{"model": model, "layer": layer, "irrep": irrep}] = unit["observed"]
    return found.to_numpy()


def _copy(folder: Path, out: Path) -> None:
    """Copy finished units and feature stores, so that a sweep of all features finds them."""
    for name in _KEPT:
        if (folder / name).is_dir():
            unfinished = shutil.ignore_patterns(".*")
            shutil.copytree(folder / name, out / name, dirs_exist_ok=True, ignore=unfinished)
