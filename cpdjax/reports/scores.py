"""A sweep's results for the eye: a table, R² by target, learning curves."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from cpdjax.errors import InputError
from cpdjax.reports.figures import write
from cpdjax.reports.significance import plot_differences, plot_null
from cpdjax.sweeps.differences import differences
from cpdjax.sweeps.table import models_of, present

#: Figures do not follow scores below this: a failed probe has no lower bound.
FLOOR = -0.2

_STAR = "* a fold is below -1: held-out molecules outside the training range"

#: What a page holds; of more channels it shows the best, of more targets the first.
MOST_CHANNELS, MOST_TARGETS = 8, 24


def summary(table: xr.Dataset) -> xr.Dataset:
    """Every channel's R²_geom over folds and repeats: median, quartiles and worst.

    Our choice: the median, not the mean. R² has no lower bound, and a single held-out molecule
    far outside what training saw can carry a fold, and with it any mean, below -1,000.

    Along a grid of α the one with the best median is taken for each channel, target and size:
    optimistic by a little, since it is chosen on the scores it reports; `alphas="loo"` is not.
    Axes (channel, size, target).
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
            # A constant target has no score in any fold: NaN, which is what is wanted.
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
    """R²_geom of every channel and target at the largest size.

    Of few channels median and quartiles, a column each; of many the median, a row each, with as
    many targets as `width` characters hold.
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
        shown.add_column(escape(str(label)).replace(" / ", "\n"), justify="right", no_wrap=True)
    for target in scores.target.values:
        row = scores.sel(target=target)
        unit = str(row.unit.item())
        name = f"{target} ({unit})" if unit else str(target)
        cells = [_cell(row.sel(channel=label)) for label in scores.channel.values]
        composition = row.r2_comp.item()
        shown.add_row(
            escape(name), f"{composition:.3f}" if np.isfinite(composition) else "undefined", *cells
        )
    return shown


def _channel_rows(table: xr.Dataset, scores: xr.Dataset, width: int) -> Table:
    fitting = max((width - 52) // 9, 1)
    targets = scores.target.values[:fitting]
    left_out = scores.sizes["target"] - len(targets)
    shown = Table(
        title=f"R²_geom at N = {int(scores['size']):,}: median over folds and repeats",
        caption=_STAR + (f"\n{left_out} further targets in the results" if left_out else ""),
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    for name in ("model", "layer", "irrep"):
        shown.add_column(name, no_wrap=True)
    for name in ("features", *map(str, targets)):
        shown.add_column(escape(name), justify="right", overflow="fold")
    composition = [_number(scores.r2_comp.sel(target=t).item()) + " " for t in targets]
    shown.add_row("R²_comp", "", "", "", *composition, end_section=True)
    before = None
    for i, (model, layer, irrep) in enumerate(present(table)):
        row = scores.isel(channel=i)
        count = table.n_features.sel(model=model, layer=layer, irrep=irrep).item()
        cells = [_median(row.sel(target=t)) for t in targets]
        name = "" if model == before else escape(str(model))
        shown.add_row(name, escape(str(layer)), escape(str(irrep)), str(count), *cells)
        before = model
    return shown


def _best(scores: xr.Dataset) -> tuple[xr.Dataset, str]:
    """The channels that a page holds, in their order, and a line about those left out."""
    channels = scores.sizes["channel"]
    if channels <= MOST_CHANNELS:
        return scores, ""
    # A mean over ranks, not scores: no target outweighs the others.
    medians = scores["median"].isel(size=-1).fillna(-np.inf).transpose("channel", "target")
    ranks = medians.to_numpy().argsort(axis=0).argsort(axis=0).mean(1)
    best = np.sort(np.argsort(-ranks, kind="stable")[:MOST_CHANNELS])
    omitted = f"the best {MOST_CHANNELS} of {channels} channels; the results hold all"
    return scores.isel(channel=best), omitted


def _cell(score: xr.Dataset) -> str:
    median, low, high, worst = (score[k].item() for k in ("median", "lower", "upper", "worst"))
    if not np.isfinite(median):
        return _number(median)
    star = "*" if worst < -1 else " "
    return f"{_number(median)} ({_number(low)}, {_number(high)}){star}"


def _median(score: xr.Dataset) -> str:
    return _number(score["median"].item()) + ("*" if score["worst"] < -1 else " ")


def _number(value: float) -> str:
    if not np.isfinite(value):
        return "undefined"
    return f"{value:.2f}" if value > -10 else f"{value:.0e}"


def plot_targets(table: xr.Dataset) -> Figure:
    """R²_geom by target and channel at the largest size: median, whiskers at the quartiles."""
    scores, omitted = _best(summary(table).isel(target=slice(MOST_TARGETS)))
    scores = scores.isel(size=-1).clip(min=FLOOR)
    channels, targets = scores.sizes["channel"], scores.sizes["target"]
    figure = Figure(figsize=(8, 1.4 + 0.16 * targets * (channels + 1)), layout="constrained")
    axes = figure.subplots()
    height = 0.8 / channels
    for i, label in enumerate(scores.channel.values):
        one = scores.isel(channel=i)
        y = np.arange(targets) + (i - (channels - 1) / 2) * height
        whiskers = [one["median"] - one["lower"], one["upper"] - one["median"]]
        axes.barh(y, one["median"], height, xerr=np.nan_to_num(whiskers), label=str(label))
    axes.set_yticks(np.arange(targets), [str(t) for t in scores.target.values])
    axes.invert_yaxis()
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlim(FLOOR, 1)
    axes.set_xlabel("R²_geom" + (f" ({omitted})" if omitted else ""))
    axes.set_title(f"Geometric information, linearly accessible (N = {int(table['size'][-1]):,})")
    figure.legend(loc="outside lower center", ncols=min(channels, 3), fontsize="small")
    return figure


def plot_curves(table: xr.Dataset) -> Figure:
    """R²_geom against the number of molecules, a panel a target: median, band of quartiles."""
    scores, omitted = _best(summary(table).isel(target=slice(MOST_TARGETS)))
    scores = scores.clip(min=2 * FLOOR)
    targets = [str(t) for t in scores.target.values]
    columns = min(4, len(targets))
    rows = -(-len(targets) // columns)
    figure = Figure(figsize=(2.6 * columns, 1.0 + 2.1 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    sizes = scores["size"].values
    for panel, target in zip(panels, targets, strict=False):
        for label in scores.channel.values:
            one = scores.sel(target=target, channel=label)
            panel.plot(sizes, one["median"], marker="o", markersize=3, label=str(label))
            panel.fill_between(sizes, one["lower"], one["upper"], alpha=0.2)
        panel.set_title(target, fontsize="medium")
        panel.axhline(0, color="black", linewidth=0.8)
        panel.set_ylim(FLOOR, 1)
        panel.set_xscale("log")
    for panel in panels[len(targets) :]:
        panel.set_visible(False)
    figure.supxlabel("molecules N" + (f" ({omitted})" if omitted else ""))
    figure.supylabel("R²_geom")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, fontsize="small")
    return figure


def save_figures(table: xr.Dataset, folder: str | Path) -> list[Path]:
    """Write `r2_geom.png` and `learning_curves.png`; where there is uncertainty, its figures.

    `null.png` with permutations; `differences.png` of two models or more, against the first.
    """
    drawn = {"r2_geom.png": plot_targets(table), "learning_curves.png": plot_curves(table)}
    if "null_r2_geom" in table:
        drawn["null.png"] = plot_null(table)
    models = models_of(table)
    if len(models) > 1 and ("null_r2_geom" in table or "replicate_r2_geom" in table):
        drawn["differences.png"] = plot_differences(differences(table, reference=models[0]))
    return write(drawn, folder)
