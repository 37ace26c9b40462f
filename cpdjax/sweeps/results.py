"""Results are one `xarray.Dataset` in the project's vocabulary, with units and provenance."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence, Set
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

import cpdjax.accessor  # noqa: F401  registers `table.cpd`
from cpdjax import checksums
from cpdjax.errors import FileError
from cpdjax.features.sources import Source
from cpdjax.files import atomic, clean, write_csv
from cpdjax.hashing import hash_arrays
from cpdjax.kernel.scores import Scores
from cpdjax.omissions import Omissions
from cpdjax.provenance import software
from cpdjax.sweeps.channels import Channel
from cpdjax.sweeps.checkpoint import SWEEP, Kind
from cpdjax.sweeps.rows import Rows
from cpdjax.sweeps.table import OWN, TRAINED_ON, along_path, present
from cpdjax.sweeps.units import Unit, Work

_LONG = ("r2_geom", "r2_full", "alpha_geom", "alpha_full")
#: These belong to the mean over folds, at the largest size in the first repeat.
_UNCERTAIN = ("r2_geom_low", "r2_geom_high", "p_value", "p_adjusted", "selectivity")
_DESCRIPTIONS = {
    "r2_geom": "R² of Ridge from the residual after the projection, held-out rows",
    "r2_full": "R² of the same Ridge from the raw features",
    "r2_comp": "R² of least squares from composition",
    "r2_concepts": "R² of least squares from all that the projection regresses on",
    "composition_share": "share of feature variance that the projection takes, training rows",
    "n_features": "columns of the channel; 0 where there is no such channel",
    "alpha_geom": "Ridge penalty behind r2_geom",
    "alpha_full": "Ridge penalty behind r2_full",
}


def known_before(settings: Any, rows: Rows, sources: Sequence[Source]) -> dict[str, Any]:
    """Return what is known of where numbers come from before any model runs.

    Args:
        settings: those of a sweep, or others with a `record`, `by_molecule` and `projection`.
    """
    return {
        "settings": settings.record,
        "dataset": rows.name,
        "dataset_hash": rows.hash,
        "molecules": rows.molecules(by_group=settings.by_molecule),
        "rows": len(rows),
        "elements": list(rows.elements),
        **_concepts(settings.projection, rows),
        "models": {source.name: source.layers for source in sources},
        **training({source.name: source.of for source in sources}),
        **software(),
    }


def training(models: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return what models were trained on and in which unit, by name, as far as they say so.

    Features, which are no model, say nothing of it, and neither do random weights.
    """
    known = {name: model for name, model in models.items() if getattr(model, "target", "")}
    return {
        TRAINED_ON: {name: str(model.target) for name, model in known.items()},
        f"{TRAINED_ON}_unit": {name: str(getattr(m, "unit", "")) for name, m in known.items()},
    }


def _concepts(projection: str, rows: Rows) -> dict[str, str]:
    """Return the hash of what a projection takes beside composition, if it takes something."""
    found = rows.concepts(projection)
    return {} if found is None else {"concepts_hash": hash_arrays([("concepts", found)])}


def provenance(
    before: Mapping[str, Any], channels: Sequence[Channel], left_out: Omissions
) -> dict[str, Any]:
    """Return where numbers come from: where all that decides among it is equal, results are."""
    return {
        **before,
        "features": {c.label: c.hash for c in channels},
        "pool": {c.model: c.pool for c in channels},
        "invariants": {c.model: c.invariants for c in channels},
        "rotations_only": sorted({c.model for c in channels if not c.parity}),
        "left_out": left_out,
    }


def assemble(work: Work, scores: Mapping[Unit, Scores], facts: Mapping[str, Any]) -> xr.Dataset:
    """Put the scores of every (channel, repeat) in their place; what does not exist is NaN."""
    axes = {axis: list(dict.fromkeys(getattr(c, axis) for c in work.channels)) for axis in OWN}
    paths: dict[str, dict[str, None]] = {}
    for channel in work.channels:
        paths.setdefault(channel.model, {})[channel.layer] = None
    axes["layer"] = along_path([list(path) for path in paths.values()])
    place = [tuple(axes[axis].index(getattr(c, axis)) for axis in OWN) for c in work.channels]
    shape = tuple(map(len, axes.values()))
    repeats, loo = work.settings.repeats, work.settings.alphas == "loo"
    curve = ("repeat", "size", "fold", "alpha", "target")
    data: dict[str, Any] = {}
    for name in ("r2_geom", "r2_full", *(("alpha_geom", "alpha_full") if loo else ())):
        data[name] = (OWN + curve, _spread(name, shape, place, repeats, scores))
    data["composition_share"] = (
        OWN + curve[:3],
        _spread("composition_share", shape, place, repeats, scores),
    )
    # Composition has one score whatever the channel: that of the first.
    composition = [scores[Unit(0, repeat)].r2_comp for repeat in range(repeats)]
    data["r2_comp"] = (("repeat", "size", "fold", "target"), np.stack(composition))
    of_concepts = (scores[Unit(0, repeat)].r2_concepts for repeat in range(repeats))
    if concepts := [own for own in of_concepts if own is not None]:
        data["r2_concepts"] = (("repeat", "size", "fold", "target"), np.stack(concepts))
    widths = np.zeros(shape, np.int64)
    for where, channel in zip(place, work.channels, strict=True):
        widths[where] = channel.n_features
    data["n_features"] = (OWN, widths)
    targets = work.targets
    coordinates = {
        **axes,
        "repeat": np.arange(repeats),
        "size": list(work.layout.sizes),
        "fold": np.arange(work.layout.held_out),
        "alpha": [np.nan] if loo else list(work.settings.alphas),
        "target": list(targets.by_name),
        "unit": ("target", [targets.units[t] for t in targets.by_name]),
    }
    table = xr.Dataset(data, coordinates, attrs=attributes(facts))
    for name, description in _DESCRIPTIONS.items():
        if name in table:
            table[name].attrs = {"description": description, "units": "1"}
    return table


def save(
    table: xr.Dataset, path: str | Path, long: Callable[[xr.Dataset], pd.DataFrame] | None = None
) -> Path:
    """Write results to `.zarr`, `.nc` or `.csv`, whole or not at all.

    A CSV file is long: it has one row for each score. The other two hold checksums, by which `load`
    tells damage.

    Args:
        table, path: the results, and where they go.
        long: makes the rows of a CSV file; by default `to_long`.

    Raises:
        FileError: the path has another suffix, or is a folder that holds something else.
    """
    path = Path(path)
    writers: dict[str, Callable[[xr.Dataset, Path], None]] = {
        ".zarr": _write_zarr,
        ".nc": _write_netcdf,
        ".csv": partial(_write_csv, long),
    }
    if path.suffix not in writers:
        raise FileError(f"results go to .zarr, .nc or .csv, got {path.name!r}")
    if path.is_dir() and not was_saved(path):
        raise FileError(f"{path} holds something else than results: rename it, or remove it")
    with atomic(path) as temporary:
        # What was read before says how it was kept: names as long as those of that file.
        writers[path.suffix](table.drop_encoding(), temporary)
    return path


def _write_zarr(table: xr.Dataset, path: Path) -> None:
    compressors = ({"id": "zstd", "level": 0, "checksum": True},)
    # Format 2: strings are not specified yet in format 3.
    encoding = {name: {"compressors": compressors} for name in table.variables}
    table.to_zarr(path, mode="w", zarr_format=2, encoding=encoding)
    checksums.seal(path)


def _write_netcdf(table: xr.Dataset, path: Path) -> None:
    # Written in memory first, because HDF5 cannot end in an orderly way on a full disk.
    path.write_bytes(table.to_netcdf(engine="h5netcdf"))
    checksums.seal(path)


def _write_csv(
    long: Callable[[xr.Dataset], pd.DataFrame] | None, table: xr.Dataset, path: Path
) -> None:
    write_csv((long or to_long)(table), path)


def was_saved(path: Path) -> bool:
    """Return whether `save` wrote a folder, here or in version 0.1.0."""
    marks = {checksums.RECORD: ".zmetadata", ".zattrs": "settings"}
    for name, mark in marks.items():
        file = path / name
        if file.is_file() and mark.encode() in file.read_bytes():
            return True
    return False


def holds(path: str | Path, kind: Kind = SWEEP) -> bool:
    """Return whether a path is that of one kind of results, or a folder with some."""
    path, ends = Path(path), (".zarr", ".nc")
    here = path.stem == kind.results and path.suffix in ends
    return here or any((path / f"{kind.results}{end}").exists() for end in ends)


def load(path: str | Path) -> xr.Dataset:
    """Read results from a `.zarr`, a `.nc`, or the folder of a sweep.

    Raises:
        FileError: they are missing, unreadable, truncated, damaged, or no results of a sweep.

    Warns:
        UserWarning: they hold no checksums, as those of version 0.1.0.
    """
    return read(path, SWEEP, {"r2_geom", "r2_full", "r2_comp", "n_features"})


def read(path: str | Path, kind: Kind, needed: Set[str]) -> xr.Dataset:
    """Read the results of one kind of computation, with the variables that they need to have."""
    path = Path(path)
    clean(path)  # puts back what a killed process had set aside
    clean(path.parent)
    inside = [p for end in ("zarr", "nc") if (p := path / f"{kind.results}.{end}").exists()]
    path = inside[0] if inside else path
    if not path.exists() or (path.is_dir() and path.suffix != ".zarr"):
        raise FileError(f"no results at {path}: give a {kind.what}'s folder, a .zarr or a .nc")
    engine = "zarr" if path.suffix == ".zarr" else "h5netcdf"
    try:
        recorded = checksums.check(path)
        with xr.open_dataset(path, engine=engine) as opened:
            table = opened.load()
    except FileError:
        raise
    except Exception as error:  # every backend has its own kinds
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise FileError(f"cannot read results from {path}: {reason}") from None
    missing = needed - set(table)
    if missing:
        raise FileError(f"{path} holds no results of a {kind.what}: {sorted(missing)} missing")
    if not recorded:
        checksums.warn_unrecorded(path)
    return table


def to_long(table: xr.Dataset) -> pd.DataFrame:
    """Return one row for every score, with `r2_comp` beside it; channels that exist only.

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
    shape: tuple[int, ...],
    place: Sequence[tuple[int, ...]],
    repeats: int,
    scores: Mapping[Unit, Scores],
) -> np.ndarray:
    unit = np.asarray(getattr(scores[Unit(0, 0)], name))
    full = np.full((*shape, repeats, *unit.shape), np.nan, unit.dtype)
    for (channel, repeat), found in scores.items():
        full[(*place[channel], repeat)] = getattr(found, name)
    return full


def attributes(facts: Mapping[str, Any]) -> dict[str, str | int]:
    """Return where results come from as their attributes hold it."""
    return {name: _attribute(value) for name, value in facts.items()}


def _attribute(value: Any) -> str | int:
    return value if isinstance(value, str | int) else json.dumps(value, sort_keys=True)
