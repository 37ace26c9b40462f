"""The uncertainty of scores: tables of intervals and adjusted p-values."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from cpdjax.reports.scores import best_first, channel_columns, summary, targets_of
from cpdjax.reports.sheet import Column, Kind, Sheet
from cpdjax.reports.symbols import symbol_text, target_text
from cpdjax.reports.text import bounded_text, p_text, penalty_text
from cpdjax.sweeps.table import OWN, overlap, present, runs_in, scores_of_runs
from cpdjax.uncertainty.comparison import estimate
from cpdjax.uncertainty.multiplicity import LEVEL, needed, smallest
from cpdjax.uncertainty.runs import hierarchical

_METHODS = {"holm": "Holm", "bh": "Benjamini–Hochberg", "max-t": "max-T"}
_COUNTED = ("95 %: over runs, molecules and folds; without runs: over molecules and folds alone.",)
_PAIRED = "95 %: corrected resampled t. p is adjusted for all rows (Holm)."
_OF_RUNS = (
    "95 %: over runs of both, molecules and folds; a single run speaks of its weights alone. p is "
    "adjusted for all rows (Holm)."
)
_UNCERTAIN = ("r2_geom_low", "r2_geom_high", "p_adjusted", "p_value", "selectivity")


def uncertainty_table(table: xr.Dataset) -> Sheet | None:
    """Return a table of intervals and adjusted p-values; None where the results hold neither.

    Its rows are in the order of the table of scores.
    """
    if "r2_geom_low" not in table and "p_adjusted" not in table:
        return None
    channels = best_first(list(present(table)), summary(table).isel(size=-1))
    targets = targets_of(table)
    rows, records = [], []
    for names in channels:
        channel = dict(zip(OWN, names, strict=True))
        own = table.isel(alpha=0).sel(channel)
        each = [own.sel(target=target) for target, _ in targets]
        rows.append([*names, *map(_cell, each)])
        records += [channel | {"target": str(one.target.item())} | _numbers(one) for one in each]
    columns = [*channel_columns(channels), *(Column(target_text(*t)) for t in targets)]
    return Sheet("uncertainty", _title(table), columns, rows, records, _notes(table))


def runs_table(table: xr.Dataset) -> Sheet | None:
    """Return a table of models with several training runs; None where there is no such model.

    The interval that counts the spread of runs stands beside that over molecules and folds alone.
    """
    models = {name: runs for name, runs in runs_in(table).items() if len(runs) > 1}
    if not models:
        return None
    rows, records, shared = [], [], overlap(table)
    for target, unit in targets_of(table):
        for name, runs in models.items():
            scores = scores_of_runs(table, runs, target)
            whole = hierarchical(scores, overlap=shared)
            alone = estimate(scores.mean(0), overlap=shared)
            spread = float(scores.mean((1, 2)).std(ddof=1))
            texts = (str(whole), f"({alone.low:.3f}, {alone.high:.3f})", f"{spread:.3f}")
            rows.append([symbol_text(target, unit), name, str(len(runs)), *texts])
            records.append(
                {"target": target, "model": name, "runs": runs, "r2_geom": whole.value}
                | {"low": whole.low, "high": whole.high, "low_without_runs": alone.low}
                | {"high_without_runs": alone.high, "sd_of_runs": spread}
            )
    columns = [Column("target", "group"), Column("model", "name"), Column("runs")]
    columns += [Column("R²_geom (95 %)"), Column("without runs"), Column("SD of runs")]
    title = f"Training runs at N = {int(table['size'][-1]):,}: last interaction layer of each model"
    return Sheet("runs", title, columns, rows, records, _COUNTED)


def differences_table(found: pd.DataFrame, table: xr.Dataset | None = None) -> Sheet:
    """Return a table with a row for each difference of `cpdjax.differences`.

    The results that they are of give targets their symbols.
    """
    symbols = {} if table is None else {name: symbol_text(name, u) for name, u in targets_of(table)}
    paired, of_runs = "bootstrap_low" in found, "runs" in found
    if "layer" not in found:  # differences of a user's own
        found = found.assign(layer="", reference_layer="")
    # What all rows of a group share stands above them: the reference, or the first of each pair.
    one = found["reference"].nunique() == 1
    ours: Kind = "name" if one else "group"
    theirs: Kind = "group" if one else "name"
    columns = [Column("target", "group"), Column("model", ours), Column("layer", ours)]
    columns += [Column("minus", theirs), Column("its layer", theirs)]
    columns += [Column("runs")] * of_runs
    columns += [Column("difference (95 %)"), Column("adjusted p")]
    columns += [Column("bootstrap (95 %)")] * paired
    records = found.to_dict("records")
    return Sheet(
        "differences_of_runs" if of_runs else "differences",
        "Differences of R²_geom" + ", training runs together" * of_runs,
        columns,
        [_difference_cells(record, symbols) for record in records],
        records,
        (_OF_RUNS if of_runs else _PAIRED,),
        heading="{0}: minus {1} ({2})" if one else "{0}: {1} ({2}) minus",
    )


def _difference_cells(record: Mapping[Hashable, Any], symbols: Mapping[str, str]) -> list[str]:
    names = ("model", "layer", "reference", "reference_layer")
    target = str(record["target"])
    cells = [symbols.get(target, target), *(str(record[name]) for name in names)]
    if "runs" in record:
        cells.append(f"{record['runs']} − {record['reference_runs']}")
    cells.append(f"{record['difference']:+.3f} ({record['low']:+.3f}, {record['high']:+.3f})")
    cells.append(p_text(record["p_adjusted"]))
    if "bootstrap_low" in record:
        cells.append(f"({record['bootstrap_low']:+.3f}, {record['bootstrap_high']:+.3f})")
    return cells


def _title(table: xr.Dataset) -> str:
    said = []
    if "r2_geom_low" in table:
        said.append(f"95 % interval of {table.sizes['replicate']} bootstrap replicates")
    if "p_adjusted" in table:
        said.append(adjustment(table))
    chosen = penalty_text(table.alpha.values[0])
    return f"R²_geom at N = {int(table['size'][-1]):,}, {chosen}: {'; '.join(said)}"


def adjustment(table: xr.Dataset) -> str:
    """Say how p-values are adjusted, and the smallest that there can be."""
    method, family, count = _family(table)
    return (
        f"p of {count:,} permutations, adjusted by {_METHODS[method]} for {family:,} scores, "
        f"{p_text(smallest(method, family, count))} the smallest possible"
    )


def _notes(table: xr.Dataset) -> tuple[str, ...]:
    """Return a warning where no p-value can be small enough."""
    if "p_adjusted" not in table or smallest(*_family(table)) <= LEVEL:
        return ()
    method, family, _ = _family(table)
    return (
        f"No p can reach {LEVEL:g} here: it takes {needed(method, family):,} permutations"
        + ("." if method == "max-t" else f", or {needed('max-t', family)} with --adjust max-t."),
    )


def _family(table: xr.Dataset) -> tuple[Any, int, int]:
    """Return how p-values are adjusted, for how many scores, and from how many permutations."""
    method = json.loads(table.attrs["settings"])["adjust"]
    family = int(table.p_adjusted.isel(alpha=0).notnull().sum())
    return method, family, table.sizes["permutation"]


def _numbers(own: xr.Dataset) -> dict[str, float]:
    return {name: own[name].item() for name in _UNCERTAIN if name in own}


def _cell(own: xr.Dataset) -> str:
    names = ("r2_geom_low", "r2_geom_high", "p_adjusted")
    values = {name: own[name].item() for name in names if name in own}
    if np.isnan(list(values.values())).any():
        return "undefined"
    said = []
    if "r2_geom_low" in values:
        low, high = (bounded_text(values[name]) for name in names[:2])
        said.append(f"{low} to {high}")
    if "p_adjusted" in values:
        said.append(f"p {p_text(values['p_adjusted'])}")
    return ", ".join(said)
