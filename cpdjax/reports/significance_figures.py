"""Figures of the uncertainty of scores: histograms of permuted targets, a forest plot."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cpdjax.reports.figures import panels
from cpdjax.reports.text import for_figure, left_out_text, p_text
from cpdjax.sweeps.table import present

#: What a figure of histograms holds: rows of channels and columns of targets.
MOST_CHANNELS, MOST_TARGETS = 8, 6
#: How many panels a forest plot holds, and how many of them in a row.
MOST_PANELS, ACROSS = 12, 4


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
