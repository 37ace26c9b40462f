"""Read the arrays in Zarr stores, folders or zipped, and decode those that are packed."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

import xarray as xr
import zarr
from e3nn_jax import Irrep

from cpdjax.bounds import check_size
from cpdjax.errors import FileError
from cpdjax.features.array_files import Layers, why_no_layer, with_molecules
from cpdjax.features.labels import check_label, label_names
from cpdjax.features.tagged import layer

_METADATA = ("zarr.json", ".zarray", ".zattrs")
_OVERHEAD = 2**12  # bytes that compression may add to a chunk, or an index to a shard


def read_zarr(path: Path) -> Layers:
    """Return the arrays (molecule, feature) and the groups layer/irrep of (molecule, channel, m).

    Only numbers and texts are read, because arrays of objects could be pickled. Arrays that name
    their axes are read by xarray, which unpacks them, and have the axis `molecule` first.

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
        arrays = {Irrep(ir): array for ir, array in group.arrays()}
        _check_sizes(path, list(arrays.values()))
        layers[name] = layer(name, {ir: _decoded(str(ir), array) for ir, array in arrays.items()})
    return layers, left_out


def _read_group(path: Path, group: Any) -> Layers:
    """Return the arrays of a group that are layers or labels, and why others are left out."""
    arrays = dict(group.arrays())
    labels = label_names(arrays)
    for name in labels:
        check_label(f"{path}, {name!r}", arrays[name].shape, arrays[name].dtype)
    reasons = {n: why_no_layer(n, a.shape, a.dtype, "irreps" in a.attrs) for n, a in arrays.items()}
    left_out = {name: why for name, why in reasons.items() if why and name not in labels}
    _check_sizes(path, [a for name, a in arrays.items() if name not in left_out])
    named = [name for name in arrays if name not in left_out and _axes(arrays[name])]
    layers: dict[str, Any] = {}
    if named:
        with xr.open_dataset(
            group.store,
            group=group.path,
            engine="zarr",
            consolidated=False,
            create_default_indexes=False,
            concat_characters=False,  # ids of one character are no text of many
            drop_variables=[name for name in arrays if name not in named],
        ) as data:
            layers |= {str(name): variable.load() for name, variable in data.variables.items()}
    plain = [name for name in arrays if name not in left_out and name not in named]
    layers |= {name: _decoded(name, arrays[name]) for name in plain}
    # Only decoded do dates and durations show what they are.
    layers, others = with_molecules(layers)
    return layers, left_out | others


def _axes(array: Any) -> tuple[str, ...]:
    """Return the names of an array's axes, or () where it has none."""
    names = getattr(array.metadata, "dimension_names", None)
    return tuple(names or array.attrs.get("_ARRAY_DIMENSIONS", ()))


def _decoded(name: str, array: Any) -> xr.Variable:
    """Return an array that may be packed, with its numbers as they are meant."""
    axes = _axes(array) or [f"axis_{i}" for i in range(array.ndim)]
    attributes = {k: v for k, v in array.attrs.items() if k != "_ARRAY_DIMENSIONS"}
    packed = xr.Variable(axes, array[...], attributes)
    return xr.conventions.decode_cf_variable(name, packed, concat_characters=False)


def _check_sizes(path: Path, arrays: list[Any]) -> None:
    """Refuse arrays that claim more than `bounds` allows, and chunks with more than they claim."""
    check_size(path, sum(8 * max(math.prod(a.shape), math.prod(_chunk(a))) for a in arrays))
    files = _files(path)
    for array in arrays:
        inner = math.prod(_chunk(array)) // max(math.prod(array.chunks), 1)
        claimed = math.prod(_chunk(array)) * array.dtype.itemsize
        largest = 2 * claimed + 16 * inner + _OVERHEAD
        folder = f"/{array.path}/" if array.path else "/"
        for name, size in files.items():
            if size > largest and folder in f"/{name}" and not name.endswith(_METADATA):
                raise FileError(
                    f"{path}: {name!r} takes {size} bytes, more than the {claimed} that it claims "
                    "to hold: write it anew"
                )


def _chunk(array: Any) -> tuple[int, ...]:
    """Return the shape of what one file of an array holds."""
    shape: tuple[int, ...] = array.shards or array.chunks
    return shape


def _files(path: Path) -> dict[str, int]:
    """Return the size of each file in a folder or a zip file."""
    if path.is_dir():
        return {p.as_posix(): p.stat().st_size for p in path.rglob("*") if p.is_file()}
    with zipfile.ZipFile(path) as archive:
        return {entry.filename: entry.file_size for entry in archive.infolist()}
