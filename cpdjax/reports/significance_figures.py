"""Figures of the uncertainty of scores: histograms of permuted targets, a forest plot."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cpdjax.reports.channel_figures import by_rank, shown_targets
from cpdjax.reports.figures import label_rows, panel_title, panels, plot_intervals
from cpdjax.reports.style import GREY, INK, ROW, TINY, colours, mark_leaving, styled
from cpdjax.reports.text import for_figure, left_out_text, p_text, score_text
from cpdjax.sweeps.table import OWN, models_of, present
from cpdjax.uncertainty.multiplicity import smallest

#: What a figure of histograms holds: rows of channels and columns of targets.
MOST_CHANNELS, MOST_TARGETS = 8, 6
#: How many panels a forest plot holds, how many of them in a row, and how many pairs in each.
MOST_PANELS, ACROSS, MOST_PAIRS = 12, 4, 40


@styled
def plot_null(table: xr.Dataset) -> Figure:
    """Plot histograms of R²_geom of permuted targets, with the score as a line.

    Rows are channels, the best first, and columns are targets. Every panel has the score and its
    adjusted p-value.
    """
    targets, _ = shown_targets(table, MOST_TARGETS)
    channels = list(present(table))
    first = table.isel(alpha=0).sel(target=list(targets))
    observed = first.r2_geom.isel(repeat=0, size=-1).mean("fold", skipna=False)
    own = [dict(zip(OWN, channel, strict=True)) for channel in channels]
    best = by_rank(np.stack([observed.sel(one).to_numpy() for one in own]))[:MOST_CHANNELS]
    left_out = left_out_text(
        channels=len(channels) - len(best), targets=table.sizes["target"] - len(targets)
    )
    text = ("grey: targets permuted; line: the score", _adjustment(table), left_out)
    figure, axes = panels(
        len(best) * len(targets), across=len(targets), size=(1.8, 1.15), margin=(0.6, 0.5),
        title="R²_geom beside chance", text="; ".join(filter(None, text)), xlabel="R²_geom",
    )  # fmt: skip
    hues = colours(models_of(table))
    for i, panel in enumerate(axes):
        row, column = divmod(i, len(targets))
        model, layer, irrep = channels[best[row]]
        symbol = list(targets.values())[column] if row == 0 else ""
        name = own[best[row]] | {"target": list(targets)[column]}
        _plot_one_null(panel, first.sel(name), observed.sel(name).item(), hues[model], symbol)
        if column == 0:
            label = f"{for_figure(model, 22)}\n{for_figure(f'{layer}, {irrep}', 22)}"
            panel.set_ylabel(label, fontsize=TINY, color=hues[model])
    return figure


def _plot_one_null(panel: Axes, own: xr.Dataset, score: float, hue: str, symbol: str) -> None:
    """Plot the permuted scores of one channel and target; a long lower tail is cut and marked."""
    null = own.null_r2_geom.to_numpy()
    above = f"{for_figure(symbol, 20)}\n" if symbol else ""
    panel.set_yticks([])
    panel.tick_params(labelsize=TINY)
    if not (np.isfinite(null).all() and np.isfinite(score)):
        panel.set_title(f"{above}undefined")
        return
    lower, upper = np.quantile(null, [0.25, 0.75])
    low = max(null.min(), lower - 5 * (upper - lower))
    high = max(null.max(), score)
    room = 0.05 * (high - low) or 0.05
    panel.hist(np.maximum(null, low), bins=30, color="0.75")
    panel.axvline(score, color=hue)
    panel.set_xlim(low - room, high + room)
    mark_leaving(panel, [null.min()], [0], GREY, along="x")
    mark_leaving(panel, [score], [panel.get_ylim()[1] / 2], hue, along="x")
    p = p_text(own.p_adjusted.item())
    panel.set_title(f"{above}{score_text(score)}, adjusted p {p}", fontsize="small")


def _adjustment(table: xr.Dataset) -> str:
    """Return how p-values are adjusted, and the smallest that there can be."""
    method = json.loads(table.attrs["settings"])["adjust"]
    family = int(table.p_adjusted.isel(alpha=0).notnull().sum())
    count = table.sizes["permutation"]
    least = p_text(smallest(method, family, count))
    return f"p of {count:,} permutations, adjusted for {family:,} scores: {least} at least"


@styled
def plot_differences(found: pd.DataFrame, table: xr.Dataset | None = None) -> Figure:
    """Plot differences of `cpdjax.differences` as a forest plot, a panel for each target.

    Every pair has a point and its corrected resampled t interval. A thin line below is the paired
    bootstrap interval, where there is one.

    Args:
        found: the differences.
        table: the results that they are of, which give targets their symbols, and models the hues
            that they have in other figures.
    """
    names = list(dict.fromkeys(found["target"]))
    symbols = shown_targets(table, len(names))[0] if table is not None else {}
    pairs = found[["model", "layer", "reference", "reference_layer"]].drop_duplicates()
    left_out = left_out_text(targets=len(names[MOST_PANELS:]), pairs=len(pairs[MOST_PAIRS:]))
    pairs, rows = pairs[:MOST_PAIRS], _pair_rows(pairs[:MOST_PAIRS], found, table)
    size = (2.2, ROW * (1.4 if "bootstrap_low" in found else 1.2) * len(rows) + 0.3)
    thin = "thin: paired bootstrap" if "bootstrap_low" in found else ""
    text = (_compared(pairs), "95 %: corrected resampled t", thin, left_out)
    figure, axes = panels(
        min(len(names), MOST_PANELS), across=ACROSS, size=size, margin=(2.6, 0.5), sharex=True,
        sharey=True, title="Differences of R²_geom", text="; ".join(filter(None, text)),
        xlabel="difference of R²_geom",
    )  # fmt: skip
    ends = found[["low", "high"]].to_numpy()
    ends = ends[np.isfinite(ends).all(1)]
    low, high = max(ends.min(initial=0) - 0.02, -1), min(ends.max(initial=0) + 0.02, 1)
    for panel, name in zip(axes, names, strict=False):
        panel.set_xlim(low, high)
        panel.axvline(0, color=INK, linewidth=0.6, zorder=1)
        one = found[found["target"] == name][:MOST_PAIRS]
        y, hues = np.arange(len(one)), [hue for _, hue, _ in rows]
        plot_intervals(panel, y, one[["difference", "low", "high"]].to_numpy().T, hues)
        if thin:
            ends = one["bootstrap_low"], one["bootstrap_high"]
            panel.hlines(y + 0.28, *ends, colors=GREY, linewidth=0.9)
        panel_title(panel, symbols.get(name, name), size[0])
    label_rows(axes, rows)
    return figure


def _pair_rows(
    pairs: pd.DataFrame, found: pd.DataFrame, table: xr.Dataset | None
) -> list[tuple[str, str, bool]]:
    """Return a label and a hue for every pair: those of the model, where all have one reference."""
    if found["reference"].nunique() > 1:
        return [(f"{p.model} − {p.reference}", INK, False) for p in pairs.itertuples()]
    models = models_of(table) if table is not None else [*found["reference"], *found["model"]]
    hues = colours(list(dict.fromkeys(models)))
    return [(f"{p.model}, {p.layer}", hues[p.model], False) for p in pairs.itertuples()]


def _compared(pairs: pd.DataFrame) -> str:
    """Return which layers are compared, and with what."""
    if pairs["reference"].nunique() == 1:
        return f"minus {pairs['reference'].iloc[0]}, {pairs['reference_layer'].iloc[0]}"
    layers = dict(zip(pairs["model"], pairs["layer"], strict=True))
    layers |= dict(zip(pairs["reference"], pairs["reference_layer"], strict=True))
    if len(set(layers.values())) == 1:
        return f"all at {next(iter(layers.values()))}"
    return "; ".join(f"{model} at {layer}" for model, layer in layers.items())
