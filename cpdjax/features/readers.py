"""Read features that others computed: arrays, tables and files, as layers of `Features`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
import zarr
from e3nn_jax import Irrep, IrrepsArray

from cpdjax import models
from cpdjax.data.datasets import read
from cpdjax.data.frames import located
from cpdjax.data.tables import numeric_columns, read_table
from cpdjax.errors import FileError, InputError, UnknownNameError
from cpdjax.features.features import Features

# Per-atom columns of a structure file that are physical quantities and no features.
_PHYSICS = frozenset({"forces", "force", "momenta", "velocities", "magmoms", "initial_magmoms"})


def read_layers(name: str, source: Any, pool: str) -> Features:
    """Return the arrays of a source as `Features` of the model `name`.

    Args:
        name: what the features are called.
        source: an array (molecule, feature), a mapping of layer to array, a pandas or xarray
            object, or a path.
        pool: how the per-atom columns of a structure file are pooled, one of `irreps.POOLS`.

    Raises:
        UnknownNameError: if a path does not exist.
        FileError: if a file cannot be read.
        InputError: if there is no array of real numbers with these axes.
    """
    arrays = _arrays_of(source, pool)
    tagged = {str(layer): _with_irreps(f"{name}/{layer}", x) for layer, x in arrays.items()}
    if not tagged:
        raise InputError(f"{name!r} holds no array with axes (molecule, feature)")
    return Features(tagged, model=name, pool="none", structures_hash="")


def _with_irreps(where: str, array: Any) -> IrrepsArray:
    """Return an array of real numbers in float64; without irreps of its own it is all 0e."""
    values = np.asarray(array.array if isinstance(array, IrrepsArray) else array)
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or not values.size or values.dtype.kind not in "biuf":
        raise InputError(
            f"features {where!r} must be real numbers with axes (molecule, feature), "
            f"got shape {values.shape} and dtype {values.dtype}"
        )
    irreps = array.irreps if isinstance(array, IrrepsArray) else f"{values.shape[1]}x0e"
    return IrrepsArray(irreps, values.astype(np.float64, copy=False))


def _arrays_of(source: Any, pool: str) -> Mapping[str, Any]:
    """Return the arrays of a source by layer."""
    if isinstance(source, str | Path):
        return _file_layers(Path(source), pool)
    if isinstance(source, pd.DataFrame):
        return _table_layers(source)
    if isinstance(source, xr.DataArray):
        return {"features": _molecules_first(source)}
    if isinstance(source, xr.Dataset):
        return {str(k): _molecules_first(v) for k, v in source.items() if v.ndim == 2}
    if isinstance(source, Mapping):
        return source
    return {"features": source}


def _molecules_first(array: xr.DataArray) -> np.ndarray:
    """Return the values with the axis of molecules first, where it has that name."""
    return (array.transpose("molecule", ...) if "molecule" in array.dims else array).to_numpy()


def _table_layers(frame: pd.DataFrame) -> Mapping[str, Any]:
    """Return the numeric columns of a table as one layer."""
    columns = numeric_columns(frame)
    return {"features": np.column_stack(list(columns.values()))} if columns else {}


def _file_layers(path: Path, pool: str) -> Mapping[str, Any]:
    """Return the layers in a file, whose suffix decides how it is read."""
    if not located(path)[0].exists():
        raise UnknownNameError("model or file", str(path), models.names())
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        return _pooled_columns(path, pool)
    try:
        return reader(path)
    except InputError:
        raise
    except Exception as error:  # a damaged file can raise nearly anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FileError(f"cannot read features from {path}: {reason}") from None


def _read_numpy(path: Path) -> Mapping[str, Any]:
    """Return the array in an .npy file, or the arrays with two axes in an .npz file."""
    loaded = np.load(path, allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        return {"features": loaded}
    with loaded:
        arrays = {name: loaded[name] for name in loaded.files}
    # Arrays with one axis, such as identifiers, are no features.
    return {name: array for name, array in arrays.items() if array.ndim == 2}


def _read_zarr(path: Path) -> Mapping[str, Any]:
    """Return arrays (molecule, feature), and groups layer/irrep of (molecule, channel, 2l+1)."""
    root = zarr.open_group(path, mode="r")
    # Only numbers are read, because arrays of objects could be pickled.
    layers = {n: a[...] for n, a in root.arrays() if a.ndim == 2 and a.dtype.kind in "biuf"}
    for name, group in root.groups():
        arrays: Any = [(Irrep(ir), a) for ir, a in group.arrays() if a.dtype.kind in "biuf"]
        parts = sorted(((ir, a[...]) for ir, a in arrays), key=lambda p: p[0])
        irreps = "+".join(f"{a.shape[1]}x{ir}" for ir, a in parts)
        flat = [a.reshape(len(a), -1) for _, a in parts]
        layers[name] = IrrepsArray(irreps, np.concatenate(flat, axis=1))
    return layers


def _pooled_columns(path: Path, pool: str) -> Mapping[str, Any]:
    """Return the per-atom feature columns of a structure file, pooled over atoms."""
    structures = read(path)
    starts, sizes = structures.offsets[:-1], structures.sizes[:, None]
    layers = {}
    for name, column in structures.atom_targets.items():
        if column.ndim == 2 and name not in _PHYSICS:
            total = column if pool == "atom" else np.add.reduceat(column, starts, axis=0)
            layers[name] = total / sizes if pool == "mean" else total
    if not layers:
        raise InputError(
            f"{path} has no per-atom feature columns with axes (atom, feature); it has "
            f"{list(structures.atom_targets)}"
        )
    return layers


_READERS: dict[str, Any] = {
    ".npy": _read_numpy,
    ".npz": _read_numpy,
    ".zarr": _read_zarr,
    ".csv": lambda path: _table_layers(read_table(path)),
    ".parquet": lambda path: _table_layers(read_table(path)),
    ".pq": lambda path: _table_layers(read_table(path)),
}
