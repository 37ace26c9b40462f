"""Figures of the findings: models, numbers of molecules and layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from cpdjax.reports.figures import panels, shared_legend
from cpdjax.reports.text import for_figure
from cpdjax.studies.findings import ENERGY, PLACES, depth, gap_score, models_by_gap

#: Which data a model was trained on, by the end of its name, and the colour that shows it.
_TRAININGS = {
    "-gap": ("QM9, gap", "tab:red"),
    f"-{ENERGY}": ("QM9, energy", "tab:blue"),
    "": ("pretrained, or handcrafted", "tab:gray"),
}


def training_of(model: str) -> str:
    """Return what a model was trained on.

    >>> training_of("painn-qm9-gap"), training_of("so3lr")
    ('QM9, gap', 'pretrained, or handcrafted')
    """
    return _training(model)[0]


def plot_gradient(table: xr.Dataset) -> Figure:
    """Plot R²_geom of the gap of every model, at its last interaction and at its best layer."""
    models = models_by_gap(table)[::-1]
    figure, [axes] = panels(1, size=(7, 1.4 + 0.3 * len(models)), margin=(0, 0))
    for i, model in enumerate(models):
        last, best = (gap_score(table, model, place) for place in PLACES)
        _, colour = _training(model)
        reach = [[last.value - last.low], [last.high - last.value]]
        axes.errorbar([last.value], [i], xerr=reach, fmt="o", color=colour, capsize=2)
        axes.plot([best.value], [i], "|", color=colour, markersize=12)
    for label, colour in dict.fromkeys(map(_training, models)):
        axes.plot([], [], "o", color=colour, label=label)
    axes.set_yticks(range(len(models)), list(map(for_figure, models)))
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlabel("R²_geom of the gap: last interaction layer (95 %); bar: best layer")
    shared_legend(figure, axes, columns=3)
    return figure


def plot_efficiency(table: xr.Dataset) -> Figure:
    """Plot R²_geom of the gap against the number of molecules, a line for each model."""
    figure, [axes] = panels(1, size=(7, 4.5), margin=(0, 0))
    sizes = [int(size) for size in table["size"].values]
    for i, model in enumerate(models_by_gap(table)):
        scores = [gap_score(table, model, size=size).value for size in sizes]
        axes.plot(sizes, np.maximum(scores, -0.2), label=for_figure(model), **_style(model, i))
    axes.set_xscale("log")
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xlabel("molecules N")
    axes.set_ylabel("R²_geom of the gap, last interaction layer")
    shared_legend(figure, axes, columns=1, place="outside right center")
    return figure


def plot_depth(table: xr.Dataset) -> Figure:
    """Plot R²_geom of the gap and the share of composition at every layer, by model."""
    by_layer = depth(table)
    labels = {"r2_geom": "R²_geom of the gap", "composition_share": "share of composition"}
    figure, axes = panels(2, across=2, size=(4.5, 4.5), margin=(0, 0))
    for panel, (name, label) in zip(axes, labels.items(), strict=True):
        for i, model in enumerate(models_by_gap(table)):
            scores = by_layer[name].sel(model=model).dropna("layer")
            style = _style(model, i)
            panel.plot(range(scores.sizes["layer"]), scores, label=for_figure(model), **style)
        panel.set_xlabel("layer, from the embedding on")
        panel.set_ylabel(label)
    shared_legend(figure, axes[0], columns=4)
    return figure


def _training(model: str) -> tuple[str, str]:
    return next(found for end, found in _TRAININGS.items() if model.endswith(end))


def _style(model: str, i: int) -> dict[str, Any]:
    """Return the style of the i-th model: the colour of its training data, and its own marker."""
    _, colour = _training(model)
    return {"color": colour, "marker": "osv^D<>pX*hP"[i % 12], "markersize": 4}
