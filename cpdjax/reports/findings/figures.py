"""Figures of the findings: models, numbers of molecules and layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cpdjax.reports.channel_figures import largest, lowest, mark_explained
from cpdjax.reports.figures import (
    label_rows,
    label_width,
    make_room,
    panel_title,
    panels,
    plot_intervals,
    ticks_at_sizes,
)
from cpdjax.reports.findings.tables import asked
from cpdjax.reports.objectives import OBJECTIVES, hue_of, objective_of
from cpdjax.reports.style import INK, LABEL, ROW, colours, mark_leaving, markers, styled
from cpdjax.reports.text import for_figure
from cpdjax.studies.findings.depth import depth
from cpdjax.studies.findings.efficiency import SETTINGS
from cpdjax.studies.groups import GRAPH
from cpdjax.studies.measured import GAP, Measured, Where
from cpdjax.sweeps.table import layers_of
from cpdjax.uncertainty.comparison import Estimate

MOST_LINES = 9
"""Limit the lines of a panel: more could not be told apart."""


def plot_all(measured: Measured) -> dict[str, Figure]:
    """Plot all figures of the findings by their file names; none that would be of single points."""
    figures = {"gradient.png": plot_gradient(measured)}
    setting = next((name for name in SETTINGS if name in measured.tables), "")
    if setting and measured.table(setting).sizes["size"] > 1:
        figures["efficiency.png"] = plot_efficiency(measured, setting)
    table = measured.table()
    if any(len(layers_of(table, model)) > 1 for model in measured.models()):
        figures["depth.png"] = plot_depth(measured)
    return figures


@styled
def plot_gradient(measured: Measured) -> Figure:
    """Plot R²_geom of the gap of every model and control, and what of it is beyond the graph."""
    models = measured.ranked(measured.models(), Where())
    table = measured.table()
    text = (
        f"{largest(table)}; dot: last interaction layer, mean and 95 % interval over runs, "
        "molecules and folds; bar: layer that is best on other molecules; ring: beyond bonds and "
        "groups; dashed: the bond graph, which has no coordinate"
    )
    figure, [panel] = panels(
        1, size=(4.2, (ROW + 0.04) * len(models) + 0.3), margin=(label_width(models), 0.5),
        title="R²_geom of the gap", text=text, xlabel="R²_geom",
    )  # fmt: skip
    scores = np.asarray([_ends(measured.score(model)) for model in models]).T
    panel.set_xlim(lowest(scores[:2]), 1)
    panel.axvline(0, color=INK, linewidth=0.6, zorder=1)
    if "r2_comp" in table:
        comp = table.r2_comp.isel(size=-1).sel(target=GAP).median(("fold", "repeat"))
        mark_explained(panel, comp.item())
    known = measured.trained_on
    hues = [hue_of(model, known.get(model, "")) for model in models]
    plot_intervals(panel, range(len(models)), scores, hues)
    for i, (model, hue) in enumerate(zip(models, hues, strict=True)):
        _mark(panel, i, asked(measured, model, Where(layer="best")), hue, "|", 10)
        _mark(panel, i, asked(measured, model, Where(setting="groups")), hue, "o", 4)
    if graph := asked(measured, GRAPH, Where()):
        panel.axvline(graph.value, color=INK, linewidth=0.8, linestyle="--", zorder=1)
    label_rows([panel], [(model, hue, False) for model, hue in zip(models, hues, strict=True)])
    present = {objective_of(model, known.get(model, "")) for model in models}
    for objective, (words, hue) in OBJECTIVES.items():
        if objective in present:
            panel.plot([], [], "o", color=hue, label=words)
    panel.legend(loc="lower right", title="trained on", alignment="left")
    return figure


def _ends(score: Estimate) -> tuple[float, float, float]:
    return score.value, score.low, score.high


def _mark(
    panel: Axes, row: int, score: Estimate | None, hue: str, marker: str, size: float
) -> None:
    """Mark a further score of a row, where there is one inside the panel."""
    if score is not None and panel.get_xlim()[0] <= score.value <= panel.get_xlim()[1]:
        panel.plot(
            [score.value], [row], marker, color=hue, markersize=size, markerfacecolor="none",
            markeredgewidth=1.3,
        )  # fmt: skip


@styled
def plot_efficiency(measured: Measured, setting: str) -> Figure:
    """Plot R²_geom of the gap against the number of molecules: a panel for what trained a model."""
    models = measured.ranked(measured.models(setting), Where(setting=setting))
    groups = _groups(models)
    models = [model for own in groups.values() for model in own]
    sizes = [int(size) for size in measured.table(setting)["size"].values]
    figure, axes = panels(
        len(groups), across=len(groups), size=(2.5, 2.8), margin=(0.5, 0.4), sharex=True,
        sharey=True, title="R²_geom of the gap by number of molecules",
        text=f"last interaction layer; {SETTINGS[setting]}; mean and 95 % interval",
        xlabel="molecules N", ylabel="R²_geom",
    )  # fmt: skip
    found = {
        model: np.asarray(
            [_ends(measured.score(model, Where(setting=setting, size=n))) for n in sizes]
        ).T
        for model in models
    }
    every = np.stack(list(found.values()))
    axes[0].set_ylim(lowest(every[:, 0]), min(float(np.nanmax(every, initial=0.1)) + 0.02, 1))
    make_room(axes[0], max(map(len, groups.values())), 2.8)
    hues, shapes = colours(models), markers(models)
    for panel, (words, own) in zip(axes, groups.items(), strict=True):
        panel.axhline(0, color=INK, linewidth=0.6, zorder=1)
        ticks_at_sizes(panel, sizes)
        for model in own:
            value, low, high = found[model]
            inside = value >= panel.get_ylim()[0]  # a point that leaves the panel has no band
            low, high = (np.where(inside, end, np.nan) for end in (low, high))
            panel.fill_between(sizes, low, high, alpha=0.12, color=hues[model], linewidth=0)
            panel.plot(sizes, value, **_line(model, hues, shapes))
            mark_leaving(panel, sizes, value, hues[model], along="y")
        panel_title(panel, words, 2.5)
        panel.legend(loc="upper left")
    return figure


@styled
def plot_depth(measured: Measured) -> Figure:
    """Plot R²_geom of the gap and the share of composition at every layer, by model.

    A column holds the models of one training; models with one layer have no line.
    """
    models = measured.ranked(measured.models(), Where())
    deep = [model for model in models if len(layers_of(measured.table(), model)) > 1]
    groups = _groups(deep)
    models = [model for own in groups.values() for model in own]
    by_layer = depth(measured).sel(model=models)
    labels = {"r2_geom": "R²_geom of the gap", "composition_share": "share of composition"}
    figure, axes = panels(
        2 * len(groups), across=len(groups), size=(2.5, 2.3), margin=(0.5, 0.9), sharex="col",
        sharey="row", title="Through the layers",
        text="above: R²_geom of the gap; below: the share of the features' variance that "
        "composition explains",
    )  # fmt: skip
    hues, shapes = colours(models), markers(models)
    for i, (name, label) in enumerate(labels.items()):
        row = axes[i * len(groups) : (i + 1) * len(groups)]
        row[0].set_ylabel(label)
        row[0].set_ylim(lowest(by_layer[name].to_numpy()), float(by_layer[name].max()) + 0.05)
        if i == 0:
            make_room(row[0], max(map(len, groups.values())), 2.3)
        for panel, (words, own) in zip(row, groups.items(), strict=True):
            _plot_layers(panel, by_layer[name].sel(model=own), hues, shapes)
            if i == 0:
                panel_title(panel, words, 2.5)
                panel.legend(loc="upper left")
    return figure


def _plot_layers(
    panel: Axes, values: xr.DataArray, hues: dict[str, str], shapes: dict[str, str]
) -> None:
    """Plot the values of a few models at the layers that one of them has."""
    values = values.dropna("layer", how="all")
    names = [for_figure(layer, 20) for layer in values.layer.values]
    panel.set_xticks(range(len(names)), names)
    panel.tick_params(axis="x", rotation=90)
    panel.axhline(0, color=INK, linewidth=0.6, zorder=1)
    for model in map(str, values.model.values):
        y = values.sel(model=model).to_numpy()
        [own] = np.nonzero(np.isfinite(y))
        panel.plot(own, y[own], **_line(model, hues, shapes))
        mark_leaving(panel, own, y[own], hues[model], along="y")


def _groups(models: Sequence[str]) -> dict[str, list[str]]:
    """Return the models by what they were trained on, in the order of `OBJECTIVES`.

    The models come in the order of their scores, and the best of each panel are shown.
    """
    together: dict[str, list[str]] = {}
    for objective, (words, _) in OBJECTIVES.items():
        own = [model for model in models if objective_of(model) == objective]
        if own:
            is_of_qm9 = objective in ("gap", "energy")
            together.setdefault(f"trained on {words}" if is_of_qm9 else "others", []).extend(own)
    shown = {}
    for words, own in together.items():
        more = f", best {MOST_LINES} of {len(own)}" if len(own) > MOST_LINES else ""
        shown[words + more] = sorted(own, key=list(models).index)[:MOST_LINES]
    return shown


def _line(model: str, hues: dict[str, str], shapes: dict[str, str]) -> dict[str, Any]:
    """Return how the line of a model looks, and what a legend calls it."""
    return {
        "color": hues[model], "marker": shapes[model], "markersize": 3.5,
        "label": for_figure(model, LABEL),
    }  # fmt: skip
