"""The scores of a sweep: a table, figures of R²_geom by target, and learning curves."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from cpdjax.errors import InputError
from cpdjax.reports.figures import panels, shared_legend, write
from cpdjax.reports.significance import plot_differences, plot_null
from cpdjax.reports.text import for_figure, for_terminal, left_out_text, score_text
from cpdjax.sweeps.differences import differences
from cpdjax.sweeps.table import models_of, present

#: Figures end at this score, since the score of a failed probe has no lower bound.
FLOOR = -0.2

_STAR = "* R² of a fold is below -1: held-out molecules are outside the training range"

#: What a table or figure holds: the best of more channels, the first of more targets.
MOST_CHANNELS, MOST_TARGETS = 8, 24


def summary(table: xr.Dataset) -> xr.Dataset:
    """Return median, quartiles and minimum of R²_geom over folds and repeats.

    The result has axes (channel, size, target).

    The median in place of the mean is our choice. R² has no lower bound, and a single held-out
    molecule far outside the range of the training molecules can carry a fold, and with it any
    mean, below -1,000.

    Along a grid of α the one with the best median is taken for each channel, target and size. This
    is a little optimistic, since α is chosen on the scores it reports; `alphas="loo"` is not.

    Raises:
        InputError: the results hold no channel.
    """
    channels = list(present(table))
    if not channels:
        raise InputError("the results hold no channel")
    frames = []
    for model, layer, irrep in channels:
        one = table.r2_geom.sel(model=model, layer=layer, irrep=irrep, drop=True)
        medians = one.median(("repeat", "fold")).fillna(-np.inf)
        chosen = one.isel(alpha=medians.argmax("alpha"))
        with warnings.catch_warnings():
            # A constant target has no score in any fold, and its quartiles are rightly NaN.
            warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)
            quartiles = chosen.quantile([0.25, 0.5, 0.75], ("repeat", "fold"))
        parts = dict(zip(("lower", "median", "upper"), quartiles, strict=True))
        parts["worst"] = chosen.min(("repeat", "fold"))
        frames.append(
            xr.Dataset({k: v.drop_vars("quantile", errors="ignore") for k, v in parts.items()})
        )
    labels = [f"{m} / {layer}" + ("" if ir == "0e" else f" / {ir}") for m, layer, ir in channels]
    scores = xr.concat(
        frames, xr.DataArray(labels, dims="channel", name="channel"),
        coords="minimal", compat="override",
    )  # fmt: skip
    scores["r2_comp"] = table.r2_comp.median(("fold", "repeat"))
    return scores


def text_table(table: xr.Dataset, width: int = 200) -> Table:
    """Return a table of R²_geom of every channel and target at the largest size.

    Few channels have a column each, with median and quartiles. Many channels have a row each, with
    the median of as many targets as `width` characters hold.
    """
    scores = summary(table).isel(size=-1)
    if scores.sizes["channel"] > MOST_CHANNELS:
        return _channel_rows(table, scores, width)
    shown = Table(
        title=f"R²_geom at N = {int(scores['size']):,}: median (quartiles) over folds and repeats",
        caption=_STAR,
    )
    shown.add_column("target", no_wrap=True)
    shown.add_column("R²_comp", justify="right", no_wrap=True)
    for label in scores.channel.values:
        lines = map(for_terminal, str(label).split(" / "))
        shown.add_column(Text("\n").join(lines), justify="right", no_wrap=True)
    for target in scores.target.values:
        row = scores.sel(target=target)
        unit = str(row.unit.item())
        name = f"{target} ({unit})" if unit else str(target)
        cells = [_cell(row.isel(channel=i)) for i in range(scores.sizes["channel"])]
        shown.add_row(for_terminal(name), score_text(row.r2_comp.item(), 3), *cells)
    return shown


def _channel_rows(table: xr.Dataset, scores: xr.Dataset, width: int) -> Table:
    fitting = max((width - 52) // 9, 1)
    targets = scores.target.values[:fitting]
    left_out = left_out_text(targets=scores.sizes["target"] - len(targets))
    shown = Table(
        title=f"R²_geom at N = {int(scores['size']):,}: median over folds and repeats",
        caption=f"{_STAR}\n{left_out}" if left_out else _STAR,
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    for name in ("model", "layer", "irrep"):
        shown.add_column(name, no_wrap=True)
    for name in ("features", *map(str, targets)):
        shown.add_column(for_terminal(name), justify="right", overflow="fold")
    composition = [score_text(scores.r2_comp.sel(target=t).item()) + " " for t in targets]
    shown.add_row("R²_comp", "", "", "", *composition, end_section=True)
    before = None
    for i, (model, layer, irrep) in enumerate(present(table)):
        row = scores.isel(channel=i)
        count = table.n_features.sel(model=model, layer=layer, irrep=irrep).item()
        cells = [_median(row.sel(target=t)) for t in targets]
        names = map(for_terminal, ("" if model == before else model, layer, irrep))
        shown.add_row(*names, str(count), *cells)
        before = model
    return shown


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


def _cell(score: xr.Dataset) -> str:
    median, low, high, worst = (score[k].item() for k in ("median", "lower", "upper", "worst"))
    if not np.isfinite(median):
        return score_text(median)
    star = "*" if worst < -1 else " "
    return f"{score_text(median)} ({score_text(low)}, {score_text(high)}){star}"


def _median(score: xr.Dataset) -> str:
    return score_text(score["median"].item()) + ("*" if score["worst"] < -1 else " ")


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
