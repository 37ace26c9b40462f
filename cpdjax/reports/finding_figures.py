"""Figures of the findings: models, numbers of molecules and layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cpdjax.reports.channel_figures import largest, lowest, mark_composition
from cpdjax.reports.figures import label_rows, panel_title, panels, plot_intervals, ticks_at_sizes
from cpdjax.reports.objectives import OBJECTIVES, hue_of, objective_of
from cpdjax.reports.style import INK, LABEL, ROW, colours, mark_leaving, markers, styled
from cpdjax.reports.text import for_figure
from cpdjax.studies.findings import GAP, PLACES, depth, gap_score, models_by_gap
from cpdjax.sweeps.table import layers_of, models_of
from cpdjax.uncertainty.comparison import Estimate


def plot_all(table: xr.Dataset) -> dict[str, Figure]:
    """Plot all figures of the findings by their file names; none that would be of single points."""
    figures = {"gradient.png": plot_gradient(table)}
    if table.sizes["size"] > 1:
        figures["efficiency.png"] = plot_efficiency(table)
    if any(len(layers_of(table, model)) > 1 for model in models_of(table)):
        figures["depth.png"] = plot_depth(table)
    return figures


@styled
def plot_gradient(table: xr.Dataset) -> Figure:
    """Plot R²_geom of the gap of every model, at its last interaction and at its best layer."""
    models = models_by_gap(table)
    text = (
        f"{largest(table)}; dot: last interaction layer, mean and 95 % interval (corrected "
        "resampled t); bar: best layer"
    )
    figure, [panel] = panels(
        1, size=(4.2, (ROW + 0.04) * len(models) + 0.3), margin=(1.6, 0.5), xlabel="R²_geom",
        title="R²_geom of the gap", text=text,
    )  # fmt: skip
    last, best = ([gap_score(table, model, place) for model in models] for place in PLACES)
    scores = np.asarray([(score.value, score.low, score.high) for score in last]).T
    panel.set_xlim(lowest(scores[:2]), 1)
    panel.axvline(0, color=INK, linewidth=0.6, zorder=1)
    if "r2_comp" in table:
        comp = table.r2_comp.isel(size=-1).sel(target=GAP).median(("fold", "repeat"))
        mark_composition(panel, comp.item())
    hues = [hue_of(model) for model in models]
    plot_intervals(panel, range(len(models)), scores, hues)
    for i, (score, hue) in enumerate(zip(best, hues, strict=True)):
        panel.plot([score.value], [i], "|", color=hue, markersize=10, markeredgewidth=1.5)
    label_rows([panel], [(model, hue, False) for model, hue in zip(models, hues, strict=True)])
    for objective in OBJECTIVES:
        if objective in set(map(objective_of, models)):
            words, hue = OBJECTIVES[objective]
            panel.plot([], [], "o", color=hue, label=words)
    panel.legend(loc="lower right", title="trained on", alignment="left")
    return figure


@styled
def plot_efficiency(table: xr.Dataset) -> Figure:
    """Plot R²_geom of the gap against the number of molecules: a panel for what trained a model."""
    groups = _groups(models_by_gap(table))
    sizes = [int(size) for size in table["size"].values]
    figure, axes = panels(
        len(groups), across=len(groups), size=(2.5, 2.8), margin=(0.5, 0.4), sharex=True,
        sharey=True, title="R²_geom of the gap by number of molecules",
        text="last interaction layer; mean and 95 % interval (corrected resampled t)",
        xlabel="molecules N", ylabel="R²_geom",
    )  # fmt: skip
    found = {
        model: np.asarray([(s.value, s.low, s.high) for s in _curve(table, model, sizes)]).T
        for model in models_of(table)
    }
    every = np.stack(list(found.values()))
    axes[0].set_ylim(lowest(every[:, 0]), min(float(np.nanmax(every, initial=0.1)) + 0.02, 1))
    hues, shapes = colours(models_of(table)), markers(models_of(table))
    for panel, (words, models) in zip(axes, groups.items(), strict=True):
        panel.axhline(0, color=INK, linewidth=0.6, zorder=1)
        ticks_at_sizes(panel, sizes)
        for model in models:
            value, low, high = found[model]
            panel.fill_between(sizes, low, high, alpha=0.12, color=hues[model], linewidth=0)
            panel.plot(sizes, value, **_line(model, hues, shapes))
            mark_leaving(panel, sizes, value, hues[model], along="y")
        panel_title(panel, words, 2.5)
        panel.legend(loc="best")
    return figure


@styled
def plot_depth(table: xr.Dataset) -> Figure:
    """Plot R²_geom of the gap and the share of composition at every layer, by model.

    A column holds the models of one training; models with one layer have no line.
    """
    deep = [model for model in models_by_gap(table) if len(layers_of(table, model)) > 1]
    groups, by_layer = _groups(deep), depth(table).sel(model=deep).dropna("layer", how="all")
    labels = {"r2_geom": "R²_geom of the gap", "composition_share": "share of composition"}
    figure, axes = panels(
        2 * len(groups), across=len(groups), size=(2.5, 2.3), margin=(0.5, 0.9), sharex=True,
        sharey="row", title="Through the layers",
        text="above: R²_geom of the gap; below: the share of the features' variance that "
        "composition explains",
    )  # fmt: skip
    hues, shapes = colours(models_of(table)), markers(models_of(table))
    layers = [str(layer) for layer in by_layer.layer.values]
    for i, (name, label) in enumerate(labels.items()):
        row = axes[i * len(groups) : (i + 1) * len(groups)]
        row[0].set_ylabel(label)
        row[0].set_ylim(lowest(by_layer[name].to_numpy()), float(by_layer[name].max()) + 0.05)
        for panel, (words, models) in zip(row, groups.items(), strict=True):
            _plot_layers(panel, by_layer[name], models, hues, shapes)
            panel.set_xticks(range(len(layers)), [for_figure(name, 20) for name in layers])
            panel.tick_params(axis="x", rotation=90)
            if i == 0:
                panel_title(panel, words, 2.5)
                panel.legend(loc="best")
    return figure


def _plot_layers(
    panel: Axes,
    by_layer: xr.DataArray,
    models: Sequence[str],
    hues: dict[str, str],
    shapes: dict[str, str],
) -> None:
    panel.axhline(0, color=INK, linewidth=0.6, zorder=1)
    for model in models:
        values = by_layer.sel(model=model).to_numpy()
        [own] = np.nonzero(np.isfinite(values))
        panel.plot(own, values[own], **_line(model, hues, shapes))
        mark_leaving(panel, own, values[own], hues[model], along="y")


def _groups(models: Sequence[str]) -> dict[str, list[str]]:
    """Return the models by what they were trained on, in the order of `OBJECTIVES`."""
    together: dict[str, list[str]] = {}
    for objective, (words, _) in OBJECTIVES.items():
        own = [model for model in models if objective_of(model) == objective]
        if own:
            is_of_qm9 = objective in ("gap", "energy")
            together.setdefault(f"trained on {words}" if is_of_qm9 else "others", []).extend(own)
    return together


def _curve(table: xr.Dataset, model: str, sizes: Sequence[int]) -> list[Estimate]:
    return [gap_score(table, model, size=size) for size in sizes]


def _line(model: str, hues: dict[str, str], shapes: dict[str, str]) -> dict[str, Any]:
    """Return how the line of a model looks, and what a legend calls it."""
    return {
        "color": hues[model], "marker": shapes[model], "markersize": 3.5,
        "label": for_figure(model, LABEL),
    }  # fmt: skip
