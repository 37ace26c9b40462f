"""Collect features from any source: a model by name, a file, an array or a table.

Everything becomes `Features`: named layers of irrep-tagged arrays, with one row a molecule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import xarray as xr

from cpdjax import models
from cpdjax.data.structures import Structures
from cpdjax.errors import InputError, UnknownNameError
from cpdjax.features.extraction import Extraction, extract
from cpdjax.features.features import Features
from cpdjax.features.readers import read_layers
from cpdjax.features.store import is_store, kept_features, read_features
from cpdjax.models import naming, zoo
from cpdjax.models.interface import Model
from cpdjax.processes import ALONE, Team


def collect(
    sources: Any,
    structures: Structures | None,
    *,
    pool: str | None = None,
    layers: Sequence[str] | None = None,
    invariants: str | None = None,
    keep: Path | None = None,
    progress: bool = False,
    processes: Team = ALONE,
) -> list[Features]:
    """Return the features of one source, of a sequence of sources, or of named sources.

    A source is a model (by name or itself), `Features`, an array (molecule, feature), a mapping
    of layer to array, a pandas or xarray object, or a path: `.npy`, `.npz` (layer by layer),
    `.zarr`, `.csv`, `.parquet`, or a structure file whose per-atom arrays are pooled.

    Sources without any of `layers` are left out. Models pool by `pool`, means by default; features
    that are pooled already must have been pooled in that way, if one is named. Where `invariants`
    is "norm-then-pool", models make scalars of the features of atoms; all other features keep
    their irreps. What models compute is kept in stores in the folder `keep`, if it is given, and
    read from them the next time; of `processes` each then computes a share.

    Raises:
        UnknownNameError: if a name is neither a model nor a file, or no source has a layer.
        FileError: if a file cannot be read.
        InputError: if a model has no structures to run on, or was trained on them; if an array
            has another shape; or if features were pooled in another way.

    >>> import numpy as np
    >>> [f] = collect({"mine": np.ones((4, 3))}, None)
    >>> f
    Features('mine', molecules=4, pool='none', layers={'features': '3x0e'})
    """
    if isinstance(sources, Mapping) and not isinstance(sources, Features | xr.Dataset):
        named = [(str(name), source) for name, source in sources.items()]
    elif isinstance(sources, list | tuple):
        named = [(_name(source, i), source) for i, source in enumerate(sources)]
    else:
        named = [(_name(sources), sources)]
    # All sources are opened before any model runs, so that mistakes show at once.
    opened = [(name, _opened(name, source, pool or "mean")) for name, source in named]
    for name, source in named:
        seen = zoo.split(source) if isinstance(source, str | Path) else None
        if seen is not None and structures is not None:
            seen.check_unseen(name, structures)
    if not opened:
        raise InputError("no features to probe: name a model, a file or an array")
    known = {layer for _, source in opened for layer in _layer_names(source)}
    for layer in layers or ():
        if layer not in known:
            raise UnknownNameError("layer", layer, known)
    found = []
    for name, source in opened:
        kept = [layer for layer in _layer_names(source) if layers is None or layer in layers]
        if kept:
            features = _computed(
                source, structures, pool, kept, invariants, keep, progress, processes
            )
            own = {layer: features[layer] for layer in kept}
            origins = {k: v for k, v in features.origins.items() if k in own}
            found.append(replace(features, layers=own, model=name, origins=origins))
    return found


def _name(source: Any, position: int | None = None) -> str:
    """Return what a source without a given name is called."""
    if isinstance(source, str | Path):
        model = naming.find(source)
        return model.name if model else Path(source).stem
    for name in (getattr(source, "name", None), getattr(source, "model", None)):
        if isinstance(name, str) and name:
            return name
    return "features" if position is None else f"features_{position}"


def _opened(name: str, source: Any, pool: str) -> Model | Features:
    """Return the model or the features that a source stands for; no model runs yet."""
    if isinstance(source, Features):
        return source
    if isinstance(source, str | Path) and naming.find(source):
        return models.load(source)
    if isinstance(source, str | Path) and Path(source).suffix == ".zarr" and is_store(Path(source)):
        return read_features(source)
    if callable(getattr(source, "features", None)):  # a table may have a column of that name
        return source
    return read_layers(name, source, pool)


def _layer_names(source: Model | Features) -> list[str]:
    """Return the layers that a source has."""
    return list(source if isinstance(source, Features) else source.irreps)


def _computed(
    source: Model | Features,
    structures: Structures | None,
    pool: str | None,
    layers: Sequence[str],
    invariants: str | None,
    keep: Path | None,
    progress: bool,
    processes: Team,
) -> Features:
    """Return the features themselves, or those that a model computes of the structures."""
    if isinstance(source, Features):
        _check_pooling(source, pool)
        return source
    if structures is None:
        raise InputError(
            f"model {source.name!r} needs structures to run on, but the targets came with formulas "
            'only: give dataset="qm9" or a structure file'
        )
    pool = pool or "mean"
    before = "norm-then-pool" if invariants == "norm-then-pool" else None
    if keep is None:
        return extract(
            source, structures, pool=pool, layers=layers, invariants=before, progress=progress
        )
    run = Extraction.of(source, structures, layers, pool, before)
    return kept_features(keep, run, progress, processes)


def _check_pooling(features: Features, pool: str | None) -> None:
    """Refuse features that were pooled in another way than the one that is asked for."""
    if pool not in (None, features.pool) and features.pool != "none":
        words = {"atom": "one row an atom", "mean": "means over atoms", "sum": "sums over atoms"}
        raise InputError(
            f"features {features.model!r} are {words[features.pool]}, and {words[pool]} are asked "
            "for: leave the pooling out, or extract them anew"
        )
