"""Features from wherever they are: a model by name, a file, an array, a table.

Everything becomes `Features`: named layers of irrep-tagged arrays, one row a molecule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
import zarr
from e3nn_jax import Irrep, IrrepsArray

from cpdjax import models
from cpdjax.data.datasets import read
from cpdjax.data.structures import Structures
from cpdjax.data.tables import numeric_columns, read_table
from cpdjax.errors import FileError, InputError, UnknownNameError
from cpdjax.features.extraction import extract
from cpdjax.features.features import Features
from cpdjax.features.store import is_store, read_features
from cpdjax.models import zoo
from cpdjax.models.interface import Model

#: Per-atom columns of a structure file that are physics, not features.
_PHYSICS = frozenset({"forces", "force", "momenta", "velocities", "magmoms", "initial_magmoms"})


def collect(
    sources: Any,
    structures: Structures | None,
    *,
    pool: str = "mean",
    layers: Sequence[str] | None = None,
    invariants: str | None = None,
    progress: bool = False,
) -> list[Features]:
    """Features of one source, a sequence of them, or a mapping of name to source.

    A source is a model (by name or itself), `Features`, an array (molecule, feature), a mapping
    of layer to array, a pandas or xarray object, or a path: `.npy`, `.npz` (layer by layer),
    `.zarr`, `.csv`, `.parquet`, or a structure file whose per-atom arrays are pooled.

    Feature sets without any of `layers` are left out. Models make scalars of their own atoms'
    features where `invariants` is "norm-then-pool"; all else keeps its irreps.

    Raises:
        UnknownNameError: a name that is neither a model nor a file; a layer that no source has.
        FileError: a file that cannot be read.
        InputError: a model without structures to run on, or with such as it was trained on;
            arrays of other shapes.

    >>> [f] = collect({"mine": np.ones((4, 3))}, None)
    >>> f
    Features('mine', molecules=4, pool='none', layers={'features': '3x0e'})
    """
    if isinstance(sources, Mapping) and not isinstance(sources, Features | xr.Dataset):
        named = [(str(name), source) for name, source in sources.items()]
    elif isinstance(sources, list | tuple):
        named = [(_name(source, i), source) for i, source in enumerate(sources)]
    else:
        named = [(_name(sources, 0), sources)]
    # All are opened before any model runs: a slip is told at once, not after minutes of work.
    opened = [(name, _open(name, source, pool)) for name, source in named]
    for name, source in named:
        seen = zoo.split(source) if isinstance(source, str | Path) else None
        if seen is not None and structures is not None:
            seen.check_unseen(name, structures)
    if not opened:
        raise InputError("no features to probe: name a model, a file or an array")
    known = {layer for _, source in opened for layer in _available(source)}
    for layer in layers or ():
        if layer not in known:
            raise UnknownNameError("layer", layer, known)
    found = []
    for name, source in opened:
        kept = [layer for layer in _available(source) if layers is None or layer in layers]
        if kept:
            features = _features(source, structures, pool, kept, invariants, progress)
            own = {layer: features[layer] for layer in kept}
            origins = {k: v for k, v in features.origins.items() if k in own}
            found.append(replace(features, layers=own, model=name, origins=origins))
    return found


def _name(source: Any, position: int) -> str:
    if isinstance(source, str | Path):
        if str(source) in models.names():
            return str(source)
        return Path(source).name if models.is_saved(source) else Path(source).stem
    for name in (getattr(source, "name", None), getattr(source, "model", None)):
        if isinstance(name, str) and name:
            return name
    return f"features_{position}"


def _open(name: str, source: Any, pool: str) -> Model | Features:
    if isinstance(source, Features):
        return source
    if isinstance(source, str) and source in models.names():
        return models.load(source)
    if isinstance(source, str | Path) and models.is_saved(source):
        return models.load(source)
    if isinstance(source, str | Path) and Path(source).suffix == ".zarr" and is_store(Path(source)):
        return read_features(source)
    if callable(getattr(source, "features", None)):  # a table may have a column of that name
        return source
    return _wrap(name, _layers(source, pool))


def _available(source: Model | Features) -> Mapping[str, Any]:
    return source if isinstance(source, Features) else source.irreps


def _features(
    source: Model | Features,
    structures: Structures | None,
    pool: str,
    layers: Sequence[str],
    invariants: str | None,
    progress: bool,
) -> Features:
    if isinstance(source, Features):
        return source
    if structures is None:
        raise InputError(
            f"model {source.name!r} needs structures to run on, but the targets came with formulas "
            'only: give dataset="qm9" or a structure file'
        )
    before = "norm-then-pool" if invariants == "norm-then-pool" else None
    return extract(
        source, structures, pool=pool, layers=layers, invariants=before, progress=progress
    )


def _wrap(name: str, layers: Mapping[str, Any]) -> Features:
    tagged = {str(layer): _tag(f"{name}/{layer}", array) for layer, array in layers.items()}
    if not tagged:
        raise InputError(f"{name!r} holds no array with axes (molecule, feature)")
    return Features(tagged, model=name, pool="none", structures_hash="")


def _tag(where: str, array: Any) -> IrrepsArray:
    values = np.asarray(array.array if isinstance(array, IrrepsArray) else array)
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or not values.size or values.dtype.kind not in "biuf":
        raise InputError(
            f"features {where!r} must be real numbers with axes (molecule, feature), "
            f"got shape {values.shape} and dtype {values.dtype}"
        )
    irreps = array.irreps if isinstance(array, IrrepsArray) else f"{values.shape[1]}x0e"
    return IrrepsArray(irreps, values.astype(np.float64, copy=False))


def _layers(source: Any, pool: str) -> Mapping[str, Any]:
    if isinstance(source, str | Path):
        return _read(Path(source), pool)
    if isinstance(source, pd.DataFrame):
        return _columns(source)
    if isinstance(source, xr.DataArray):
        return {"features": _molecule_first(source)}
    if isinstance(source, xr.Dataset):
        return {str(k): _molecule_first(v) for k, v in source.items() if v.ndim == 2}
    if isinstance(source, Mapping):
        return source
    return {"features": source}


def _molecule_first(array: xr.DataArray) -> np.ndarray:
    return (array.transpose("molecule", ...) if "molecule" in array.dims else array).to_numpy()


def _columns(frame: pd.DataFrame) -> Mapping[str, Any]:
    columns = numeric_columns(frame)
    return {"features": np.column_stack(list(columns.values()))} if columns else {}


def _read(path: Path, pool: str) -> Mapping[str, Any]:
    if not path.exists():
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
    loaded = np.load(path, allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        return {"features": loaded}
    with loaded:
        arrays = {name: loaded[name] for name in loaded.files}
    # What lies beside them with one axis, such as identifiers, is no feature.
    return {name: array for name, array in arrays.items() if array.ndim == 2}


def _read_zarr(path: Path) -> Mapping[str, Any]:
    """Arrays (molecule, feature), or groups layer/irrep of (molecule, channel, 2l+1)."""
    root = zarr.open_group(path, mode="r")
    # Only numbers are read: arrays of objects are the one kind that could be pickled.
    layers = {n: a[...] for n, a in root.arrays() if a.ndim == 2 and a.dtype.kind in "biuf"}
    for name, group in root.groups():
        arrays: Any = [(Irrep(ir), a) for ir, a in group.arrays() if a.dtype.kind in "biuf"]
        parts = sorted(((ir, a[...]) for ir, a in arrays), key=lambda p: p[0])
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
            total = column if pool == "atom" else np.add.reduceat(column, starts, axis=0)
            layers[name] = total / sizes if pool == "mean" else total
    if not layers:
        raise InputError(
            f"{path} has no per-atom feature columns, only {list(structures.atom_targets)}"
        )
    return layers


_READERS: dict[str, Any] = {
    ".npy": _read_numpy,
    ".npz": _read_numpy,
    ".zarr": _read_zarr,
    ".csv": lambda path: _columns(read_table(path)),
    ".parquet": lambda path: _columns(read_table(path)),
    ".pq": lambda path: _columns(read_table(path)),
}
