"""Uncertainty for the eye: tables of intervals and p-values, null histograms, a forest plot."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from cpdjax.sweeps.table import present

#: What a page of null histograms holds: rows and columns.
MOST_CHANNELS, MOST_TARGETS = 8, 6
#: Panels of a forest plot, and panels in a row.
MOST_PANELS, ACROSS = 12, 4

_METHODS = {"holm": "Holm", "bh": "Benjamini–Hochberg", "max-t": "max-T"}


def uncertainty_table(table: xr.Dataset, width: int = 200) -> Table | None:
    """Every channel's and target's interval and adjusted p-value; None where there are none."""
    shown = [name for name in ("r2_geom_low", "p_adjusted") if name in table]
    if not shown:
        return None
    fitting = max((width - 40) // 24, 1)
    targets = [str(t) for t in table.target.values[:fitting]]
    left_out = table.sizes["target"] - len(targets)
    made = Table(
        title=_title(table),
        caption=f"{left_out} further targets in the results" if left_out else None,
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    for name in ("model", "layer", "irrep"):
        made.add_column(name, no_wrap=True)
    for target in targets:
        made.add_column(escape(target), justify="right", no_wrap=True)
    first = table.isel(alpha=0)
    for model, layer, irrep in present(table):
        own = first.sel(model=model, layer=layer, irrep=irrep)
        cells = [_cell(own.sel(target=t)) for t in targets]
        made.add_row(escape(model), escape(layer), escape(irrep), *cells)
    return made


def differences_table(found: pd.DataFrame) -> Table:
    """A row a difference of `cpdjax.differences`."""
    paired = "bootstrap_low" in found
    names = ["target", "model", "against", "R²_geom less (95 %)", "p", "p adjusted"]
    made = Table(
        *names, *(["bootstrap (95 %)"] if paired else []),
        caption="corrected resampled t; adjusted for all rows (Holm)", box=SIMPLE_HEAD,
    )  # fmt: skip
    for row in found.itertuples():
        cells = [f"{row.difference:+.3f} ({row.low:+.3f}, {row.high:+.3f})"]
        cells += [_p(row.p_value), _p(row.p_adjusted)]
        if paired:
            cells.append(f"({row.bootstrap_low:+.3f}, {row.bootstrap_high:+.3f})")
        made.add_row(*map(escape, (row.target, row.model, row.reference)), *cells)
    return made


def plot_null(table: xr.Dataset) -> Figure:
    """Histograms of permuted targets' R²_geom, the score a line: rows channels, columns targets."""
    channels = list(present(table))
    targets = [str(t) for t in table.target.values[:MOST_TARGETS]]
    rows, columns = min(len(channels), MOST_CHANNELS), len(targets)
    figure = Figure(figsize=(1.5 + 2.0 * columns, 1.2 + 1.5 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False)
    first = table.isel(alpha=0)
    for row, (model, layer, irrep) in zip(panels, channels, strict=False):
        own = first.sel(model=model, layer=layer, irrep=irrep)
        for panel, target in zip(row, targets, strict=True):
            _plot_one_null(panel, own.sel(target=target))
        row[0].set_ylabel(f"{model}\n{layer}, {irrep}", fontsize="x-small")
    for panel, target in zip(panels[0], targets, strict=True):
        panel.set_title(f"{target}\n{panel.get_title()}", fontsize="small")
    left_out = [f"{len(channels) - rows} further channels"] * (len(channels) > rows)
    left_out += [f"{table.sizes['target'] - columns} further targets"] * (
        table.sizes["target"] > columns
    )
    omitted = f"\n({', '.join(left_out)} in the results)" if left_out else ""
    figure.supxlabel("R²_geom: permuted targets, and the score" + omitted, fontsize="medium")
    return figure


def plot_differences(found: pd.DataFrame) -> Figure:
    """A forest plot of `cpdjax.differences`, a panel a target.

    A point and its corrected resampled t interval for every pair; below it, thin, the paired
    bootstrap interval where there is one.
    """
    targets = list(dict.fromkeys(found["target"]))[:MOST_PANELS]
    pairs = list(dict.fromkeys(zip(found["model"], found["reference"], strict=True)))
    columns = min(ACROSS, len(targets))
    rows = -(-len(targets) // columns)
    size = (2.5 + 2.4 * columns, 1.0 + rows * (0.6 + 0.28 * len(pairs)))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    for panel, target in zip(panels, targets, strict=False):
        one = found[found["target"] == target]
        y = np.arange(len(one))
        panel.axvline(0, color="black", linewidth=0.8)
        panel.hlines(y, one["low"], one["high"], color="C0")
        panel.plot(one["difference"], y, "o", color="C0", markersize=4)
        if "bootstrap_low" in one:
            panel.hlines(
                y + 0.25, one["bootstrap_low"], one["bootstrap_high"], color="C1", linewidth=1
            )
        panel.set_title(target, fontsize="medium")
    for panel in panels[len(targets) :]:
        panel.set_visible(False)
    against = found["reference"].unique()
    labels = [a if len(against) == 1 else f"{a} − {b}" for a, b in pairs]
    panels[0].set_yticks(np.arange(len(pairs)), labels, fontsize="small")
    panels[0].set_ylim(len(pairs) - 0.4, -0.6)
    of = f"R²_geom less that of {against[0]}" if len(against) == 1 else "difference of R²_geom"
    thin = "; thin: bootstrap" if "bootstrap_low" in found else ""
    figure.supxlabel(f"{of}\n(95 %: corrected resampled t{thin})", fontsize="medium")
    return figure


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
    said = []
    if "r2_geom_low" in own:
        said.append(f"{own.r2_geom_low.item():.2f} to {own.r2_geom_high.item():.2f}")
    if "p_adjusted" in own:
        said.append(f"p {_p(own.p_adjusted.item())}")
    return "undefined" if "nan" in " ".join(said) else ", ".join(said)


def _p(value: float) -> str:
    return f"{value:.2g}"


def _plot_one_null(panel: Axes, own: xr.Dataset) -> None:
    null = own.null_r2_geom.to_numpy()
    score = own.r2_geom.isel(repeat=0, size=-1).mean("fold", skipna=False).item()
    panel.set_yticks([])
    panel.tick_params(labelsize="x-small")
    if not (np.isfinite(null).all() and np.isfinite(score)):
        panel.set_title("undefined", fontsize="small")
        return
    panel.hist(null, bins=30, color="0.7")
    panel.axvline(score, color="C3")
    panel.set_title(f"p {_p(own.p_value.item())}", fontsize="small")
