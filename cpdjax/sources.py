"""Features from wherever they are: a model by name, a file, an array, a table.

Everything becomes `Features`: named layers of irrep-tagged arrays, one row a molecule.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
import zarr
from e3nn_jax import Irrep, IrrepsArray

from cpdjax import models
from cpdjax.datasets import read, read_table
from cpdjax.errors import FileError, InputError, UnknownNameError
from cpdjax.extraction import extract
from cpdjax.features import Features
from cpdjax.structures import Structures

#: Per-atom columns of a structure file that are physics, not features.
_PHYSICS = frozenset({"forces", "force", "momenta", "velocities", "magmoms", "initial_magmoms"})


def collect(
    sources: Any,
    structures: Structures | None,
    *,
    pool: str = "mean",
    layers: Sequence[str] | None = None,
    progress: bool = False,
) -> list[Features]:
    """Features of one source, a sequence of them, or a mapping of name to source.

    A source is a model (by name or itself), `Features`, an array (molecule, feature), a mapping
    of layer to array, a pandas or xarray object, or a path: `.npy`, `.npz` (layer by layer),
    `.zarr`, `.csv`, `.parquet`, or a structure file whose per-atom arrays are pooled.

    Raises:
        UnknownNameError: a name that is neither a model nor a file.
        FileError: a file that cannot be read.
        InputError: a model without structures to run on; arrays of other shapes.

    >>> [f] = collect({"mine": np.ones((4, 3))}, None)
    >>> f
    Features('mine', molecules=4, pool='none', layers={'features': '3x0e'})
    """
    if isinstance(sources, Mapping) and not isinstance(sources, Features | xr.Dataset):
        named = list(sources.items())
    elif isinstance(sources, list | tuple):
        named = [(_name(source, i), source) for i, source in enumerate(sources)]
    else:
        named = [(_name(sources, 0), sources)]
    found = []
    for name, source in named:
        if isinstance(source, Features):
            features = source
        elif _is_model(source):
            features = _run(source, structures, pool, layers, progress)
        else:
            features = _wrap(name, _layers(source, pool), pool)
        found.append(features if layers is None else _only(features, layers))
    if not found:
        raise InputError("no features to probe: name a model, a file or an array")
    return found


def _name(source: Any, position: int) -> str:
    if isinstance(source, str | Path):
        return Path(source).stem
    name = getattr(source, "name", None) or getattr(source, "model", None)
    return name if isinstance(name, str) else f"features_{position}"


def _is_model(source: Any) -> bool:
    return hasattr(source, "features") or (isinstance(source, str) and source in models.names())


def _run(
    model: Any,
    structures: Structures | None,
    pool: str,
    layers: Sequence[str] | None,
    progress: bool,
) -> Features:
    if structures is None:
        raise InputError(
            f"model {model!r} needs structures to run on, but the targets came with formulas "
            'only: give dataset="qm9" or a structure file'
        )
    known = models.load(model) if isinstance(model, str) else model
    wanted = None if layers is None else [layer for layer in known.irreps if layer in layers]
    if wanted == []:
        raise UnknownNameError(f"layer of {known.name}", (layers or [""])[0], known.irreps)
    return extract(known, structures, pool=pool, layers=wanted, progress=progress)


def _only(features: Features, layers: Sequence[str]) -> Features:
    kept = {name: features[name] for name in features if name in layers}
    if not kept:
        raise UnknownNameError(f"layer of {features.model}", layers[0], features)
    return Features(kept, features.model, features.pool, features.structures_hash)


def _wrap(name: str, layers: Mapping[str, Any], pool: str) -> Features:
    tagged = {str(layer): _tag(f"{name}/{layer}", array) for layer, array in layers.items()}
    if not tagged:
        raise InputError(f"{name!r} holds no array with axes (molecule, feature)")
    return Features(tagged, model=name, pool="none", structures_hash="")


def _tag(where: str, array: Any) -> IrrepsArray:
    if isinstance(array, IrrepsArray):
        return IrrepsArray(array.irreps, np.asarray(array.array))
    values = np.asarray(array)
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or not np.issubdtype(values.dtype, np.number) or np.iscomplexobj(values):
        raise InputError(
            f"features {where!r} must be real numbers with axes (molecule, feature), "
            f"got shape {values.shape} and dtype {values.dtype}"
        )
    return IrrepsArray(f"{values.shape[1]}x0e", values.astype(np.float64, copy=False))


def _layers(source: Any, pool: str) -> Mapping[str, Any]:
    if isinstance(source, str | Path):
        return _read(Path(source), pool)
    if isinstance(source, pd.DataFrame):
        return {"features": source.select_dtypes("number").to_numpy(np.float64)}
    if isinstance(source, xr.DataArray):
        return {"features": _molecule_first(source)}
    if isinstance(source, xr.Dataset):
        return {str(k): _molecule_first(v) for k, v in source.items() if v.ndim == 2}
    if isinstance(source, Mapping):
        return source
    return {"features": source}


def _molecule_first(array: xr.DataArray) -> np.ndarray:
    return (array.transpose("molecule", ...) if "molecule" in array.dims else array).to_numpy()


def _read(path: Path, pool: str) -> Mapping[str, Any]:
    if not path.exists():
        raise UnknownNameError("model or file", str(path), models.names())
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        return _pooled_columns(path, pool)
    try:
        return reader(path)
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())
        raise FileError(f"cannot read features from {path}: {reason}") from None


def _read_npz(path: Path) -> Mapping[str, Any]:
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files if arrays[name].ndim == 2}


def _read_frame(path: Path) -> Mapping[str, Any]:
    numeric = read_table(path).select_dtypes("number").drop(columns=["id"], errors="ignore")
    return {"features": numeric.to_numpy(np.float64)}


def _read_zarr(path: Path) -> Mapping[str, Any]:
    """Arrays (molecule, feature), or groups layer/irrep of (molecule, channel, 2l+1)."""
    root = zarr.open_group(path, mode="r")
    layers: dict[str, Any] = {name: array[...] for name, array in root.arrays() if array.ndim == 2}
    for name, group in root.groups():
        parts = sorted(((Irrep(ir), a[...]) for ir, a in group.arrays()), key=lambda p: p[0])
        irreps = "+".join(f"{a.shape[1]}x{ir}" for ir, a in parts)
        flat = [a.reshape(len(a), -1) for _, a in parts]
        layers[name] = IrrepsArray(irreps, np.concatenate(flat, axis=1))
    return layers


def _pooled_columns(path: Path, pool: str) -> Mapping[str, Any]:
    structures = read(path)
    starts, sizes = structures.offsets[:-1], structures.sizes[:, None]
    layers = {}
    for name, column in structures.atom_targets.items():
        if column.ndim == 2 and name not in _PHYSICS:
            total = np.add.reduceat(column, starts, axis=0)
            layers[name] = total / sizes if pool == "mean" else total
    if not layers:
        raise InputError(
            f"{path} has no per-atom feature columns, only {list(structures.atom_targets)}"
        )
    return layers


_READERS: dict[str, Any] = {
    ".npy": lambda path: {"features": np.load(path, allow_pickle=False)},
    ".npz": _read_npz,
    ".zarr": _read_zarr,
    ".csv": _read_frame,
    ".parquet": _read_frame,
    ".pq": _read_frame,
}
