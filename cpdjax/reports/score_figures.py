"""Figures of a sweep's scores: R²_geom by target, and learning curves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from cpdjax.reports.figures import panels, shared_legend, write
from cpdjax.reports.scores import MOST_CHANNELS, MOST_TARGETS, summary
from cpdjax.reports.significance_figures import plot_differences, plot_null
from cpdjax.reports.text import for_figure
from cpdjax.sweeps.differences import differences
from cpdjax.sweeps.table import models_of

#: Figures end at this score, since the score of a failed probe has no lower bound.
FLOOR = -0.2


def plot_targets(table: xr.Dataset) -> Figure:
    """Plot R²_geom by target and channel at the largest size: median, whiskers at quartiles."""
    scores, note = _best(summary(table).isel(target=slice(MOST_TARGETS)))
    scores = scores.isel(size=-1).clip(min=FLOOR)
    channels, targets = scores.sizes["channel"], scores.sizes["target"]
    height = 1.4 + 0.16 * targets * (channels + 1)
    figure, [axes] = panels(1, size=(8, height), margin=(0, 0))
    thickness = 0.8 / channels
    for i, label in enumerate(scores.channel.values):
        one = scores.isel(channel=i)
        y = np.arange(targets) + (i - (channels - 1) / 2) * thickness
        whiskers = [one["median"] - one["lower"], one["upper"] - one["median"]]
        axes.barh(
            y, one["median"], thickness, xerr=np.nan_to_num(whiskers), label=for_figure(label)
        )
    axes.set_yticks(np.arange(targets), list(map(for_figure, scores.target.values)))
    axes.invert_yaxis()
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlim(FLOOR, 1)
    axes.set_xlabel("R²_geom" + (f" ({note})" if note else ""))
    axes.set_title(f"Geometric information, linearly accessible (N = {int(table['size'][-1]):,})")
    shared_legend(figure, axes, columns=min(channels, 3))
    return figure


def plot_curves(table: xr.Dataset) -> Figure:
    """Plot R²_geom against the number of molecules, a panel for each target.

    Lines are medians, bands reach from the lower to the upper quartile.
    """
    scores, note = _best(summary(table).isel(target=slice(MOST_TARGETS)))
    scores = scores.clip(min=2 * FLOOR)
    targets = [str(t) for t in scores.target.values]
    figure, axes = panels(
        len(targets), across=4, size=(2.6, 2.1), margin=(0, 1.0), sharex=True, sharey=True
    )
    sizes = scores["size"].values
    for panel, target in zip(axes, targets, strict=True):
        for i, label in enumerate(scores.channel.values):
            one = scores.sel(target=target).isel(channel=i)
            panel.plot(sizes, one["median"], marker="o", markersize=3, label=for_figure(label))
            panel.fill_between(sizes, one["lower"], one["upper"], alpha=0.2)
        panel.set_title(for_figure(target), fontsize="medium")
        panel.axhline(0, color="black", linewidth=0.8)
        panel.set_ylim(FLOOR, 1)
        panel.set_xscale("log")
    figure.supxlabel("molecules N" + (f" ({note})" if note else ""))
    figure.supylabel("R²_geom")
    shared_legend(figure, axes[0], columns=3, place="outside upper center")
    return figure


def save_figures(table: xr.Dataset, folder: str | Path) -> list[Path]:
    """Write `r2_geom.png` and `learning_curves.png` into a folder, and figures of uncertainty.

    Results with permutations also have `null.png`. Results with permutations or bootstrap
    replicates of two models or more also have `differences.png`, against the first model.
    """
    figures = {"r2_geom.png": plot_targets(table), "learning_curves.png": plot_curves(table)}
    if "null_r2_geom" in table:
        figures["null.png"] = plot_null(table)
    models = models_of(table)
    if len(models) > 1 and ("null_r2_geom" in table or "replicate_r2_geom" in table):
        figures["differences.png"] = plot_differences(differences(table, reference=models[0]))
    return write(figures, folder)


def _best(scores: xr.Dataset) -> tuple[xr.Dataset, str]:
    """Return the channels that a figure holds, in their order, and a note about the others."""
    channels = scores.sizes["channel"]
    if channels <= MOST_CHANNELS:
        return scores, ""
    # The mean is taken over ranks, not scores, so that no target outweighs the others.
    medians = scores["median"].isel(size=-1).fillna(-np.inf).transpose("channel", "target")
    ranks = medians.to_numpy().argsort(axis=0).argsort(axis=0).mean(1)
    best = np.sort(np.argsort(-ranks, kind="stable")[:MOST_CHANNELS])
    note = f"the best {MOST_CHANNELS} of {channels} channels; the results hold all"
    return scores.isel(channel=best), note
