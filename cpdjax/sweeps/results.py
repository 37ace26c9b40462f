"""Results: one `xarray.Dataset` in the project's vocabulary, with units and provenance."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
import xarray as xr

from cpdjax.errors import FileError
from cpdjax.files import atomic
from cpdjax.kernel.scores import Scores
from cpdjax.probes.folds import Layout
from cpdjax.sweeps.channels import Channel
from cpdjax.sweeps.settings import Settings
from cpdjax.sweeps.table import present
from cpdjax.sweeps.targets import Targets

_PACKAGES = ("cpdjax", "jax", "jaxlib", "e3nn-jax", "numpy", "ase")
_LONG = ("r2_geom", "r2_full", "alpha_geom", "alpha_full")
#: Of the mean over folds at the largest size in the first repeat.
_UNCERTAIN = ("r2_geom_low", "r2_geom_high", "p_value", "p_adjusted", "selectivity")
_DESCRIPTIONS = {
    "r2_geom": "R² of Ridge from the residual after the projection, held-out rows",
    "r2_full": "R² of the same Ridge from the untouched features",
    "r2_comp": "R² of least squares from composition",
    "composition_share": "share of feature variance that the projection takes, training rows",
    "n_features": "columns of the channel; 0 where there is no such channel",
    "alpha_geom": "Ridge penalty behind r2_geom",
    "alpha_full": "Ridge penalty behind r2_full",
}


def provenance(
    settings: Settings, molecules: Targets, channels: Sequence[Channel]
) -> dict[str, Any]:
    """All that decides the numbers: equal provenance, equal results."""
    device = jax.local_devices()[0]
    return {
        "settings": settings.record,
        "dataset": molecules.name,
        "dataset_hash": molecules.hash,
        "molecules": len(molecules.formulas),
        "rows": len(molecules),
        "elements": list(molecules.elements),
        "features": {c.label: c.hash for c in channels},
        "rotations_only": sorted({c.model for c in channels if not c.parity}),
        "packages": {name: version(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": f"{device.platform}: {device.device_kind}",
    }


def assemble(
    channels: Sequence[Channel],
    molecules: Targets,
    layout: Layout,
    settings: Settings,
    scores: Mapping[tuple[int, int], Scores],
    facts: Mapping[str, Any],
) -> xr.Dataset:
    """Put every unit in its place; what does not exist is NaN."""
    models, layers, irreps = (
        list(dict.fromkeys(getattr(c, axis) for c in channels))
        for axis in ("model", "layer", "irrep")
    )
    place = [
        (models.index(c.model), layers.index(c.layer), irreps.index(c.irrep)) for c in channels
    ]
    shape = (len(models), len(layers), len(irreps))
    loo = settings.alphas == "loo"
    curve = ("repeat", "size", "fold", "alpha", "target")
    own = ("model", "layer", "irrep")
    data: dict[str, Any] = {}
    for name in ("r2_geom", "r2_full", *(("alpha_geom", "alpha_full") if loo else ())):
        data[name] = (own + curve, _spread(name, shape, place, settings.repeats, scores))
    data["composition_share"] = (
        (*own, "repeat", "size", "fold"),
        _spread("composition_share", shape, place, settings.repeats, scores),
    )
    composition = [scores[0, repeat].r2_comp for repeat in range(settings.repeats)]
    data["r2_comp"] = (("repeat", "size", "fold", "target"), np.stack(composition))
    widths = np.zeros(shape, np.int64)
    for where, channel in zip(place, channels, strict=True):
        widths[where] = channel.n_features
    data["n_features"] = (own, widths)
    coordinates = {
        "model": models,
        "layer": layers,
        "irrep": irreps,
        "repeat": np.arange(settings.repeats),
        "size": list(layout.sizes),
        "fold": np.arange(layout.index.shape[1]),
        "alpha": [np.nan] if loo else list(settings.alphas),
        "target": list(molecules.targets),
        "unit": ("target", [molecules.units[t] for t in molecules.targets]),
    }
    table = xr.Dataset(data, coordinates, attrs={k: _attribute(v) for k, v in facts.items()})
    for name, description in _DESCRIPTIONS.items():
        if name in table:
            table[name].attrs = {"description": description, "units": "1"}
    return table


def save(table: xr.Dataset, path: str | Path) -> Path:
    """Write results to `.zarr`, `.nc` or `.csv` (long: one row a score), whole or not at all.

    Raises:
        FileError: another suffix.
    """
    path = Path(path)
    writers = {
        # Format 2: strings are not specified yet in format 3.
        ".zarr": lambda p: table.to_zarr(p, mode="w", zarr_format=2),
        ".nc": lambda p: table.to_netcdf(p, engine="h5netcdf"),
        ".csv": lambda p: to_long(table).to_csv(p, index=False),
    }
    if path.suffix not in writers:
        raise FileError(f"results go to .zarr, .nc or .csv, got {path.name!r}")
    with atomic(path) as temporary:
        writers[path.suffix](temporary)
    return path


def load(path: str | Path) -> xr.Dataset:
    """Read results: a `.zarr` or `.nc`, or the folder of a sweep.

    Raises:
        FileError: missing, unreadable, truncated, or no results of a sweep.
    """
    path = Path(path)
    inside = [p for p in (path / "results.zarr", path / "results.nc") if p.exists()]
    path = inside[0] if inside else path
    if not path.exists() or (path.is_dir() and path.suffix != ".zarr"):
        raise FileError(f"no results at {path}: give a sweep's folder, a .zarr or a .nc")
    engine = "zarr" if path.suffix == ".zarr" else "h5netcdf"
    try:
        with xr.open_dataset(path, engine=engine) as opened:
            table = opened.load()
    except Exception as error:  # every backend has its own kinds
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise FileError(f"cannot read results from {path}: {reason}") from None
    missing = {"r2_geom", "r2_full", "r2_comp", "n_features"} - set(table)
    if missing:
        raise FileError(f"{path} holds no results of a sweep: {sorted(missing)} missing")
    return table


def to_long(table: xr.Dataset) -> pd.DataFrame:
    """One row for every score, with `r2_comp` beside it; absent channels left out.

    Intervals and p-values, where there are some, stand beside the scores whose mean over folds
    they belong to.
    """
    names = [name for name in _LONG if name in table]
    uncertain = [name for name in _UNCERTAIN if name in table]
    beside = table[uncertain].expand_dims(repeat=table["repeat"][:1], size=table["size"][-1:])
    table = table[[*names, "r2_comp", "n_features"]].merge(beside, join="left")
    names += uncertain
    frames = []
    for model, layer, irrep in present(table):
        one = table[[*names, "r2_comp"]].sel(model=model, layer=layer, irrep=irrep)
        frames.append(one.to_dataframe().reset_index())
    first = ["model", "layer", "irrep", "target", "unit", "size", "repeat", "fold", "alpha"]
    return pd.concat(frames, ignore_index=True)[[*first, *names, "r2_comp"]]


def _spread(
    name: str,
    shape: tuple[int, int, int],
    place: Sequence[tuple[int, int, int]],
    repeats: int,
    scores: Mapping[tuple[int, int], Scores],
) -> np.ndarray:
    unit = np.asarray(getattr(scores[0, 0], name))
    full = np.full((*shape, repeats, *unit.shape), np.nan, unit.dtype)
    for (channel, repeat), found in scores.items():
        full[(*place[channel], repeat)] = getattr(found, name)
    return full


def _attribute(value: Any) -> str | int:
    return value if isinstance(value, str | int) else json.dumps(value, sort_keys=True)
