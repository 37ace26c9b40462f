"""Read features that others computed: arrays, tables and files, as layers of `Features`."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from e3nn_jax import IrrepsArray

from cpdjax import models
from cpdjax.configuration import names_in
from cpdjax.data.composition import formulas
from cpdjax.data.datasets import read
from cpdjax.data.frames import located
from cpdjax.data.tables.files import is_table
from cpdjax.data.tables.table import Source, read_table
from cpdjax.errors import FileError, InputError, UnknownNameError
from cpdjax.features.array_files import Layers, read_npy, read_npz, with_molecules
from cpdjax.features.features import Features
from cpdjax.features.labels import Labels, apart, is_column, label_names, labels_of
from cpdjax.features.tagged import MATRIX, layer, untagged, warn_of_vectors
from cpdjax.features.zarr_files import read_zarr
from cpdjax.omissions import say_left_out
from cpdjax.real_arrays import labels_rows

# Per-atom columns of a structure file that are physical quantities and no features.
_PHYSICS = frozenset({"forces", "force", "momenta", "velocities", "magmoms", "initial_magmoms"})


def read_layers(name: str, source: Any, pool: str, before: str | None = None) -> Features:
    """Return the arrays of a source as `Features` of the model `name`.

    Arrays that are named as tables name their columns of ids and formulas (`id`, `ids`, `mol_id`,
    `formula`, ...) say who the molecules are.

    Args:
        name: what the features are called.
        source: an array (molecule, feature), a mapping of layer to array, a pandas or xarray
            object, or a path.
        pool: how the per-atom columns of a structure file are pooled, one of `irreps.POOLS`.
        before: "norm-then-pool" where scalars are made of them before.

    Raises:
        UnknownNameError: if a path does not exist.
        FileError: if a file cannot be read, or claims more than `bounds` allows.
        InputError: if there is no array of real numbers with these axes; if ids or formulas are
            missing, or are not one text a molecule; or if norms before pooling are asked of rows
            that are molecules already.

    Warns:
        LeftOutWarning: if columns or arrays are left out.
        UserWarning: if what may be a vector is taken as scalars, because it has no irreps.
    """
    path = Path(source) if isinstance(source, str | Path) else None
    if path is not None and not located(path)[0].exists():
        several = names_in(str(path))
        if len(several) > 1:
            raise InputError(
                f"unknown model or file {str(path)!r}; give several as a list, {several}, in the "
                "shell by --models with commas or by several --features"
            )
        if path.suffix.lower() in _READERS or is_table(path):
            beside = (str(other) for other in path.parent.glob(f"*{path.suffix}"))
            raise UnknownNameError("file", str(path), beside)
        raise UnknownNameError("model or file", str(path), models.names())
    if path is not None and not (path.suffix.lower() in _READERS or is_table(path)):
        return _of_atoms(name, path, pool, before)
    if before is not None:
        raise InputError(
            f"features {name!r} are pooled already, so {before} cannot be made of them: leave "
            f"`invariants` out, or give the atoms' rows to Features.from_atoms(..., "
            f"invariants={before!r})"
        )
    if isinstance(source, pd.DataFrame) or (path and is_table(path)):
        return _table_features(name, source)
    found, left_out = _arrays_of(source) if path is None else _file_layers(path)
    labels, found = apart(f"features {name!r}", found)
    _part_columns(found, left_out)
    _check_masks(name, found, left_out)
    if not found:
        listed = ", ".join(f"{key!r} is {why}" for key, why in list(left_out.items())[:20])
        raise InputError(
            f"{name!r} holds no array with axes (molecule, feature){listed and ': ' + listed}"
        )
    layers = _with_irreps(name, found)
    say_left_out("layers", f"features {name!r}", left_out)
    return _pooled(name, layers, labels)


def _with_irreps(name: str, found: Mapping[Any, Any]) -> dict[str, IrrepsArray]:
    """Return arrays as layers; those without irreps are all 0e, with a warning if in doubt."""
    made, tagged = {}, []
    for key, values in found.items():
        plain, tag = untagged(str(key))
        if plain in made:
            raise InputError(f"features {name!r} hold two layers {plain!r}: name them apart")
        made[plain] = layer(f"features '{name}/{plain}'", values, tag)
        has_own = isinstance(values, IrrepsArray | Mapping) or "irreps" in getattr(
            values, "attrs", ()
        )
        if tag is not None or has_own:
            tagged.append(plain)
    warn_of_vectors(name, made, tagged)
    return made


def _part_columns(layers: dict[Any, Any], left_out: dict[str, str]) -> None:
    """Leave out columns of text and of row numbers, as tables do; this changes the arguments."""
    for key, values in list(layers.items()):
        if not is_column(values):
            continue
        if labels_rows(str(key)):
            left_out[str(key)] = "it numbers or names the rows"
        elif len(values) and all(isinstance(value, str) for value in values):
            left_out[str(key)] = "text"
        else:
            continue
        del layers[key]


def _check_masks(name: str, layers: dict[str, Any], left_out: dict[str, str]) -> None:
    """Leave out masks that mask nothing, and refuse those that do; both change the arguments."""
    for key in [key for key in layers if key.lower().endswith("mask")]:
        mask = np.asarray(layers[key])
        if mask.dtype == bool and mask.any():
            raise InputError(
                f"features {name!r}: {key!r} masks {mask.sum()} values; remove or impute them"
            )
        if mask.dtype == bool:
            left_out[key] = "a mask that masks nothing"
            del layers[key]


def _arrays_of(source: Any) -> Layers:
    """Return the arrays of an object by layer, and why others are left out."""
    if isinstance(source, xr.Dataset):
        return with_molecules({str(key): values for key, values in source.variables.items()})
    if isinstance(source, xr.DataArray):
        beside = {str(key): values for key, values in source.coords.items()}
        return {MATRIX: source} | {name: beside[name] for name in label_names(beside)}, {}
    if isinstance(source, Mapping):
        return dict(source), {}
    return {MATRIX: source}, {}


def _table_features(name: str, source: Source) -> Features:
    """Return the columns of numbers in a table as one layer, and what it says of the molecules."""
    table = read_table(source)
    if not table.numbers:
        raise InputError(
            f"{name!r} holds no array with axes (molecule, feature), because no column is one of "
            f"numbers: {[*table.texts, *table.left_out]}"
        )
    say_left_out("channels", f"features {name!r}", table.left_out)
    whole = layer(name, np.column_stack(list(table.numbers.values())))
    return _pooled(name, {MATRIX: whole}, labels_of(table.texts))


def _pooled(name: str, layers: dict[str, IrrepsArray], labels: Labels) -> Features:
    """Return layers of molecules as features of which no structures are known."""
    return Features(
        layers, name, "none", structures_hash="", ids=labels.ids, formulas=labels.formulas
    )


def _file_layers(path: Path) -> Layers:
    """Return the layers in a file, whose suffix decides how it is read."""
    reader = _READERS[path.suffix.lower()]
    try:
        layers: Layers = reader(path)
        return layers
    except InputError:
        raise
    except Exception as error:  # a damaged file can raise nearly anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FileError(f"cannot read features from {path}: {reason[:300]}") from None


def _read_numpy(path: Path) -> Layers:
    """Return the layers in an .npy or .npz file, whichever it is."""
    return read_npz(path) if zipfile.is_zipfile(path) else read_npy(path)


def _of_atoms(name: str, path: Path, pool: str, before: str | None) -> Features:
    """Return the columns of atoms in a structure file, pooled over the atoms of each molecule."""
    structures = read(path)
    columns = {
        k: x for k, x in structures.atom_targets.items() if k not in _PHYSICS and x.ndim == 2
    }
    if not columns:
        raise InputError(
            f"{path} has no per-atom feature columns with axes (atom, feature); it has "
            f"{list(structures.atom_targets)}"
        )
    layers = _with_irreps(name, columns)
    found = Features.from_atoms(
        layers, structures.offsets, pool=pool, invariants=before, model=name
    )
    ids = structures.ids if structures.has_names else None
    return replace(found, ids=ids, formulas=formulas(structures))


_READERS: dict[str, Any] = {
    ".npy": _read_numpy,
    ".npz": _read_numpy,
    ".zarr": read_zarr,
    ".zip": read_zarr,
}
