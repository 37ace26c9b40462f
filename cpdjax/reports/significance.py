"""The uncertainty of scores: tables of intervals and p-values, histograms, a forest plot."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.box import SIMPLE_HEAD
from rich.table import Table

from cpdjax.reports.figures import panels
from cpdjax.reports.text import for_figure, for_terminal, left_out_text, p_text
from cpdjax.sweeps.table import present

#: What a figure of histograms holds: rows of channels and columns of targets.
MOST_CHANNELS, MOST_TARGETS = 8, 6
#: How many panels a forest plot holds, and how many of them in a row.
MOST_PANELS, ACROSS = 12, 4

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


def plot_null(table: xr.Dataset) -> Figure:
    """Plot histograms of R²_geom of permuted targets, with the score as a line.

    Rows are channels and columns are targets.
    """
    channels = list(present(table))
    targets = [str(t) for t in table.target.values[:MOST_TARGETS]]
    rows, columns = min(len(channels), MOST_CHANNELS), len(targets)
    figure = Figure(figsize=(1.5 + 2.0 * columns, 1.2 + 1.5 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    first = table.isel(alpha=0)
    for row, (model, layer, irrep) in zip(axes, channels, strict=False):
        own = first.sel(model=model, layer=layer, irrep=irrep)
        for panel, target in zip(row, targets, strict=True):
            _plot_one_null(panel, own.sel(target=target))
        name = f"{for_figure(model)}\n{for_figure(f'{layer}, {irrep}')}"
        row[0].set_ylabel(name, fontsize="x-small")
    for panel, target in zip(axes[0], targets, strict=True):
        panel.set_title(f"{for_figure(target)}\n{panel.get_title()}", fontsize="small")
    left_out = left_out_text(channels=len(channels) - rows, targets=table.sizes["target"] - columns)
    label = "R²_geom: permuted targets (bars) and the score (line)"
    figure.supxlabel(f"{label}\n({left_out})" if left_out else label, fontsize="medium")
    return figure


def plot_differences(found: pd.DataFrame) -> Figure:
    """Plot differences of `cpdjax.differences` as a forest plot, a panel for each target.

    Every pair has a point and its corrected resampled t interval. A thin line below is the paired
    bootstrap interval, where there is one.
    """
    targets = list(dict.fromkeys(found["target"]))[:MOST_PANELS]
    pairs = list(dict.fromkeys(zip(found["model"], found["reference"], strict=True)))
    size = (2.4, 0.6 + 0.28 * len(pairs))
    figure, axes = panels(len(targets), across=ACROSS, size=size, margin=(2.5, 1.0), sharey=True)
    for panel, target in zip(axes, targets, strict=True):
        one = found[found["target"] == target]
        y = np.arange(len(one))
        panel.axvline(0, color="black", linewidth=0.8)
        panel.hlines(y, one["low"], one["high"], color="C0")
        panel.plot(one["difference"], y, "o", color="C0", markersize=4)
        if "bootstrap_low" in one:
            panel.hlines(
                y + 0.25, one["bootstrap_low"], one["bootstrap_high"], color="C1", linewidth=1
            )
        panel.set_title(for_figure(target), fontsize="medium")
    against = found["reference"].unique()
    labels = [for_figure(a if len(against) == 1 else f"{a} − {b}") for a, b in pairs]
    axes[0].set_yticks(np.arange(len(pairs)), labels, fontsize="small")
    axes[0].set_ylim(len(pairs) - 0.4, -0.6)
    label = "difference of R²_geom"
    if len(against) == 1:
        label = f"R²_geom minus that of {for_figure(against[0])}"
    thin = "; thin: bootstrap" if "bootstrap_low" in found else ""
    figure.supxlabel(f"{label}\n(95 %: corrected resampled t{thin})", fontsize="medium")
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
    panel.set_title(f"p {p_text(own.p_value.item())}", fontsize="small")
