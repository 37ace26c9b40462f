"""Read the arrays in NumPy's files, by the sizes and types that their headers claim."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from cpdjax.bounds import check_size
from cpdjax.errors import FileError
from cpdjax.features.labels import check_label, label_names
from cpdjax.features.tagged import BAR
from cpdjax.real_arrays import is_real

Layers = tuple[dict[str, Any], dict[str, str]]


def why_no_layer(name: str, shape: tuple[int, ...], dtype: Any, tagged: bool = False) -> str:
    """Return why an array is no layer of features, or "" if it is one.

    Args:
        tagged: whether the array says its irreps other than by its name. With irreps it may have
            the axes (molecule, channel, 2l+1).
    """
    if dtype.hasobject:
        return "Python objects, which are not read"
    if not is_real(dtype):
        return f"of dtype {dtype}"
    if len(shape) == 2 or (len(shape) == 3 and (tagged or BAR in name)):
        return ""
    if len(shape) == 3 and shape[2] in (3, 5, 7):
        degree = shape[2] // 2
        tag = f"{shape[1]}x{degree}{'eo'[degree % 2]}"
        return f"of shape {shape} (if its axes are molecule, channel, 2l+1: name it '{name}|{tag}')"
    return f"of shape {shape}"


def with_molecules(variables: Mapping[str, Any]) -> Layers:
    """Return the variables of xarray that are layers or labels, and why others are left out.

    Where some variables have an axis `molecule`, others belong to something else.
    """
    labels = {name: variables[name] for name in label_names(variables)}
    rest = {k: v for k, v in variables.items() if k not in labels}
    reasons = {
        k: "it labels an axis"
        if v.dims == (k,)
        else why_no_layer(k, v.shape, v.dtype, "irreps" in v.attrs)
        for k, v in rest.items()
    }
    left_out = {k: why for k, why in reasons.items() if why}
    layers = {k: v for k, v in rest.items() if k not in left_out}
    if any("molecule" in v.dims for v in layers.values()):
        others = {k: f"of axes {v.dims}" for k, v in layers.items() if "molecule" not in v.dims}
        layers = {k: v for k, v in layers.items() if k not in others}
        left_out |= others
    return layers | labels, left_out


def read_npy(path: Path) -> Layers:
    """Return the array in an .npy file as one layer.

    Raises:
        FileError: if the file holds objects, or less than its header claims.
    """
    with path.open("rb") as file:
        shape, dtype = _header(file)
        rest = path.stat().st_size - file.tell()
    if dtype.hasobject:
        raise FileError(f"{path} holds Python objects, which are not read")
    if math.prod(shape) * dtype.itemsize > rest:
        raise FileError(f"{path} claims an array of shape {shape}, which is not there: it is cut")
    return {"features": np.load(path, allow_pickle=False)}, {}


def read_npz(path: Path) -> Layers:
    """Return the arrays in an .npz file that are layers or labels, and why others are left out.

    Raises:
        FileError: if the file claims more than `bounds` allows, or the arrays less than they are.
        InputError: if ids or formulas are Python objects, or have another shape than (molecule,).
    """
    layers, left_out = {}, {}
    with zipfile.ZipFile(path) as archive:
        entries = {i.filename.removesuffix(".npy"): i for i in archive.infolist()}
        if len(entries) < len(archive.infolist()):
            raise FileError(f"{path} holds two arrays of one name: write it anew")
        check_size(path, sum(entry.file_size for entry in entries.values()))
        labels = label_names(entries)
        for name, entry in entries.items():
            with archive.open(entry) as file:
                try:
                    shape, dtype = _header(file)
                except ValueError:
                    left_out[name] = "no array of NumPy"
                    continue
                if name in labels:
                    check_label(f"{path}, {name!r}", shape, dtype)
                elif reason := why_no_layer(name, shape, dtype):
                    left_out[name] = reason
                    continue
                if math.prod(shape) * dtype.itemsize > entry.file_size:
                    raise FileError(f"{path}, {name!r} claims shape {shape}, which is not there")
            with archive.open(entry) as file:
                layers[name] = np.lib.format.read_array(file, allow_pickle=False)
    return layers, left_out


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    """Return the shape and the dtype that stand at the start of an .npy file."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    else:
        shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    return shape, dtype
