"""The uncertainty of scores: tables of intervals and p-values."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import xarray as xr
from rich.box import SIMPLE_HEAD
from rich.table import Table

from cpdjax.reports.text import for_terminal, left_out_text, p_text
from cpdjax.sweeps.table import present

_METHODS = {"holm": "Holm", "bh": "Benjamini–Hochberg", "max-t": "max-T"}


def uncertainty_table(table: xr.Dataset, width: int = 200) -> Table | None:
    """Return a table of intervals and adjusted p-values; None where the results hold neither."""
    if "r2_geom_low" not in table and "p_adjusted" not in table:
        return None
    fitting = max((width - 40) // 24, 1)
    targets = [str(t) for t in table.target.values[:fitting]]
    made = Table(
        title=_title(table),
        caption=left_out_text(targets=table.sizes["target"] - len(targets)) or None,
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    for name in ("model", "layer", "irrep"):
        made.add_column(name, no_wrap=True)
    for target in targets:
        made.add_column(for_terminal(target), justify="right", no_wrap=True)
    first = table.isel(alpha=0)
    for model, layer, irrep in present(table):
        own = first.sel(model=model, layer=layer, irrep=irrep)
        cells = [_cell(own.sel(target=t)) for t in targets]
        made.add_row(*map(for_terminal, (model, layer, irrep)), *cells)
    return made


def differences_table(found: pd.DataFrame) -> Table:
    """Return a table with a row for each difference of `cpdjax.differences`."""
    paired = "bootstrap_low" in found
    names = ["target", "model", "against", "difference of R²_geom (95 %)", "p", "adjusted p"]
    made = Table(
        *names, *(["bootstrap (95 %)"] if paired else []),
        caption="corrected resampled t; p is adjusted for all rows (Holm)", box=SIMPLE_HEAD,
    )  # fmt: skip
    for row in found.itertuples():
        cells = [f"{row.difference:+.3f} ({row.low:+.3f}, {row.high:+.3f})"]
        cells += [p_text(row.p_value), p_text(row.p_adjusted)]
        if paired:
            cells.append(f"({row.bootstrap_low:+.3f}, {row.bootstrap_high:+.3f})")
        made.add_row(*map(for_terminal, (row.target, row.model, row.reference)), *cells)
    return made


def _title(table: xr.Dataset) -> str:
    alpha = table.alpha.values[0]
    chosen = "leave-one-out" if np.isnan(alpha) else f"{alpha:g}"
    said = []
    if "r2_geom_low" in table:
        said.append(f"95 % interval of {table.sizes['replicate']} bootstrap replicates")
    if "p_adjusted" in table:
        method = _METHODS[json.loads(table.attrs["settings"])["adjust"]]
        family = int(table.p_adjusted.isel(alpha=0).notnull().sum())
        said.append(f"p of {table.sizes['permutation']} permutations, {method} for {family} scores")
    return f"R²_geom at N = {int(table['size'][-1]):,}, α = {chosen}: {'; '.join(said)}"


def _cell(own: xr.Dataset) -> str:
    names = ("r2_geom_low", "r2_geom_high", "p_adjusted")
    values = {name: own[name].item() for name in names if name in own}
    if np.isnan(list(values.values())).any():
        return "undefined"
    said = []
    if "r2_geom_low" in values:
        said.append(f"{values['r2_geom_low']:.2f} to {values['r2_geom_high']:.2f}")
    if "p_adjusted" in values:
        said.append(f"p {p_text(values['p_adjusted'])}")
    return ", ".join(said)
