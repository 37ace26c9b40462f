"""Read the arrays in Zarr stores, folders or zipped, and decode those that are packed."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import xarray as xr
import zarr
from e3nn_jax import Irrep, IrrepsArray

from cpdjax.bounds import check_size
from cpdjax.errors import FileError
from cpdjax.features.array_files import Layers, why_no_layer
from cpdjax.validation import real_array


def read_zarr(path: Path) -> Layers:
    """Return the arrays (molecule, feature) and the groups layer/irrep of (molecule, channel, m).

    Only numbers are read, because arrays of objects could be pickled. Arrays that name their axes
    are read by xarray, which unpacks them, and have the axis `molecule` first.

    Raises:
        FileError: if the store claims more than `bounds` allows, or is a zipped store of `extract`.
    """
    if path.is_dir():
        return _layers(path, zarr.open(path, mode="r"))
    with zipfile.ZipFile(path) as archive:
        check_size(path, sum(entry.file_size for entry in archive.infolist()))
        root = _root(archive.namelist())
    with zarr.storage.ZipStore(path, mode="r") as store:
        return _layers(path, zarr.open(store, path=root, mode="r"))


def _root(names: list[str]) -> str:
    """Return where in a zip file the store starts: at its root, or in its only folder."""
    if {"zarr.json", ".zgroup", ".zarray"} & set(names):
        return ""
    tops = {PurePosixPath(name).parts[0] for name in names if name}
    return tops.pop() if len(tops) == 1 else ""


def _layers(path: Path, node: Any) -> Layers:
    """Return the layers in a group, or in an array at the root."""
    if isinstance(node, zarr.Array):
        _check_sizes(path, [node])
        return {"features": _decoded("features", node)}, {}
    if "molecules_done" in node.attrs:
        raise FileError(f"{path} is a zipped store of features: unzip it and give the folder")
    layers, left_out = _read_group(path, node)
    for name, group in node.groups():
        arrays = [(Irrep(ir), array) for ir, array in group.arrays()]
        _check_sizes(path, [array for _, array in arrays])
        parts = sorted(
            ((ir, real_array(f"{name}/{ir}", _decoded(str(ir), a))) for ir, a in arrays),
            key=lambda part: part[0],
        )
        irreps = "+".join(f"{a.shape[1]}x{ir}" for ir, a in parts)
        flat = [a.reshape(len(a), -1) for _, a in parts]
        layers[name] = IrrepsArray(irreps, np.concatenate(flat, axis=1))
    return layers, left_out


def _read_group(path: Path, group: Any) -> Layers:
    """Return the arrays of a group that are layers, and why others are left out."""
    arrays = dict(group.arrays())
    left_out = {n: r for n, a in arrays.items() if (r := why_no_layer(a.shape, a.dtype))}
    _check_sizes(path, [a for name, a in arrays.items() if name not in left_out])
    named = [name for name in arrays if name not in left_out and _axes(arrays[name])]
    layers: dict[str, Any] = {}
    if named:
        with xr.open_dataset(
            group.store,
            group=group.path,
            engine="zarr",
            consolidated=False,
            decode_times=False,
            create_default_indexes=False,
            drop_variables=[name for name in arrays if name not in named],
        ) as data:
            layers |= {str(name): variable.load() for name, variable in data.variables.items()}
    plain = [name for name in arrays if name not in left_out and name not in named]
    return layers | {name: _decoded(name, arrays[name]) for name in plain}, left_out


def _axes(array: Any) -> tuple[str, ...]:
    """Return the names of an array's axes, or () where it has none."""
    names = getattr(array.metadata, "dimension_names", None)
    return tuple(names or array.attrs.get("_ARRAY_DIMENSIONS", ()))


def _decoded(name: str, array: Any) -> xr.Variable:
    """Return an array that may be packed, with its numbers as they are meant."""
    axes = _axes(array) or [f"axis_{i}" for i in range(array.ndim)]
    attributes = {k: v for k, v in array.attrs.items() if k != "_ARRAY_DIMENSIONS"}
    packed = xr.Variable(axes, array[...], attributes)
    return xr.conventions.decode_cf_variable(name, packed, decode_times=False)


def _check_sizes(path: Path, arrays: list[Any]) -> None:
    """Refuse arrays, or chunks of them, that claim more than `bounds` allows."""
    shapes = [shape for a in arrays for shape in (a.shape, a.chunks, getattr(a, "shards", None))]
    check_size(path, sum(8 * math.prod(shape) for shape in shapes if shape is not None))
