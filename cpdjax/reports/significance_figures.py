"""Figures of the uncertainty of scores: histograms of permuted targets, a forest plot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cpdjax.reports.channel_figures import MOST_INCHES, by_rank, shown_targets
from cpdjax.reports.figures import label_rows, label_width, panel_title, panels, plot_intervals
from cpdjax.reports.significance import adjustment
from cpdjax.reports.style import GREY, INK, ROW, TINY, colours, mark_leaving, styled
from cpdjax.reports.text import for_figure, left_out_text, p_text, score_text
from cpdjax.sweeps.table import OWN, models_of, present

#: What a figure of histograms holds: rows of channels and columns of targets.
MOST_CHANNELS, MOST_TARGETS = 8, 6
#: How many panels a forest plot holds, how many of them in a row, and how many pairs in each.
MOST_PANELS, ACROSS, MOST_PAIRS = 12, 4, 66


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
    text = ("grey: targets permuted; line: the score", adjustment(table), left_out)
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
    panel.locator_params(axis="x", nbins=4)
    panel.tick_params(labelsize=TINY)
    if not (np.isfinite(null).all() and np.isfinite(score)):
        panel.set_title(f"{above}undefined")
        return
    lower, upper = np.quantile(null, [0.25, 0.75])
    low = max(null.min(), lower - 5 * (upper - lower))
    high = max(null.max(), score)
    room = 0.05 * (high - low) or 0.05
    panel.hist(np.maximum(null, low), bins=20, color="0.75")
    panel.axvline(score, color=hue)
    panel.set_xlim(low - room, high + room)
    mark_leaving(panel, [null.min()], [0], GREY, along="x")
    mark_leaving(panel, [score], [panel.get_ylim()[1] / 2], hue, along="x")
    p = p_text(own.p_adjusted.item())
    panel.set_title(f"{above}{score_text(score)}, adjusted p {p}", fontsize="small")


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
    pairs = found[found["target"] == names[0]]
    rows = _pair_rows(pairs[:MOST_PAIRS], table)
    thin = "thin: paired bootstrap" if "bootstrap_low" in found else ""
    height = ROW * (1.4 if thin else 1.1) * len(rows) + 0.3
    shown = names[: min(MOST_PANELS, ACROSS * max(1, int(MOST_INCHES / height)))]
    left_out = left_out_text(targets=len(names) - len(shown), pairs=len(pairs[MOST_PAIRS:]))
    text = (_reference(pairs), "95 %: corrected resampled t", thin, left_out)
    figure, axes = panels(
        len(shown), across=ACROSS, size=(2.2, height),
        margin=(label_width(row.label for row in rows), 0.5), sharex=True, sharey=True,
        title="Differences of R²_geom", text="; ".join(filter(None, text)),
        xlabel="difference of R²_geom",
    )  # fmt: skip
    ends = found[["low", "high"]].to_numpy()
    ends = ends[np.isfinite(ends).all(1)]
    axes[0].set_xlim(max(ends.min(initial=0) - 0.02, -1), min(ends.max(initial=0) + 0.02, 1))
    for panel, name in zip(axes, shown, strict=True):
        _plot_pairs(panel, found[found["target"] == name][:MOST_PAIRS], rows)
        panel_title(panel, symbols.get(name, name), 2.2)
    label_rows(axes, [(row.label, row.colour, not row.is_pair) for row in rows])
    return figure


class _Row(NamedTuple):
    """Hold a row of a forest plot: a pair of models, or the heading of those that follow."""

    label: str
    colour: str
    is_pair: bool = True


def _pair_rows(pairs: pd.DataFrame, table: xr.Dataset | None) -> list[_Row]:
    """Return the rows: models, or where every pair is compared, what is taken from each model."""
    models = models_of(table) if table is not None else [*pairs["model"], *pairs["reference"]]
    hues = colours(list(dict.fromkeys(models)))
    if pairs["reference"].nunique() == 1:
        return [_Row(f"{p.model}, {p.layer}", hues[p.model]) for p in pairs.itertuples()]
    rows: list[_Row] = []
    for (model, layer), own in pairs.groupby(["model", "layer"], sort=False):
        rows.append(_Row(f"{model}, {layer} −", hues[model], is_pair=False))
        others = own[["reference", "reference_layer"]].itertuples(index=False)
        rows += [_Row(f"{other}, {its_layer}", hues[other]) for other, its_layer in others]
    return rows


def _reference(pairs: pd.DataFrame) -> str:
    """Return what all pairs subtract, and its layer; nothing where they differ."""
    first = pairs.iloc[0]
    is_one = pairs["reference"].nunique() == 1
    return f"minus {first['reference']}, {first['reference_layer']}" if is_one else ""


def _plot_pairs(panel: Axes, found: pd.DataFrame, rows: Sequence[_Row]) -> None:
    """Plot the differences of one target."""
    panel.axvline(0, color=INK, linewidth=0.6, zorder=1)
    y = np.asarray([i for i, row in enumerate(rows) if row.is_pair])
    hues = [row.colour for row in rows if row.is_pair]
    plot_intervals(panel, y, found[["difference", "low", "high"]].to_numpy().T, hues)
    if "bootstrap_low" in found:
        ends = found["bootstrap_low"], found["bootstrap_high"]
        panel.hlines(y + 0.28, *ends, colors=GREY, linewidth=0.9)
