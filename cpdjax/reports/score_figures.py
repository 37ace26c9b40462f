"""Figures of a sweep: its headline, and all that go into a folder of results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cpdjax.reports.channel_figures import (
    LAST_LAYER,
    head_panel,
    largest,
    lowest,
    plot_curves,
    plot_targets,
    shown_targets,
)  # fmt: skip
from cpdjax.reports.figures import label_rows, label_width, legend, panels, plot_intervals, write
from cpdjax.reports.objectives import OBJECTIVES, hue_of, objective_of
from cpdjax.reports.significance_figures import plot_differences, plot_null
from cpdjax.reports.style import FLOOR, ROW, styled
from cpdjax.sweeps.differences import differences
from cpdjax.sweeps.table import last_interaction, models_of, present, score_of

#: How many targets and models the headline has, and how many panels in a row.
MOST_TARGETS, MOST_MODELS, ACROSS = 6, 40, 3


@styled
def plot_headline(table: xr.Dataset) -> Figure:
    """Plot R²_geom model by model, with 95 % intervals: a panel for each target.

    A model is represented by its last interaction layer, all irreps together. The models are in
    order of the first panel's target, and their hue tells what they were trained on.
    """
    targets, note = shown_targets(table, MOST_TARGETS)
    models, found = _estimates(table, list(targets))
    across = len(targets) if len(targets) <= 4 else ACROSS
    size = (2.0, (ROW + 0.04) * len(models) + 0.3)
    repeats, folds = table.sizes["repeat"], table.sizes["fold"]
    text = (
        table.attrs.get("dataset"), largest(table), LAST_LAYER,
        f"mean and 95 % interval (corrected resampled t) over {repeats} × {folds} folds",
        "grey: what composition explains", note,
    )  # fmt: skip
    figure, axes = panels(
        len(targets), across=across, size=size, margin=(label_width(models), 0.5), sharex=True,
        sharey=True, title="Geometry beyond composition", text="; ".join(filter(None, text)),
        xlabel="R²_geom",
    )  # fmt: skip
    axes[0].set_xlim(lowest(found[:2]), 1)
    hues = [hue_of(model) for model in models]
    for t, (panel, (target, symbol)) in enumerate(zip(axes, targets.items(), strict=True)):
        comp = table.r2_comp.isel(size=-1).sel(target=target).median(("fold", "repeat"))
        head_panel(panel, symbol, comp.item(), size[0])
        plot_intervals(panel, range(len(models)), found[..., t], hues)
    label_rows(axes, [(model, hue, False) for model, hue in zip(models, hues, strict=True)])
    _legend_of_objectives(figure, axes, models, found)
    return figure


def _estimates(
    table: xr.Dataset, targets: list[str]
) -> tuple[list[str], Float[np.ndarray, "3 model target"]]:
    """Return the models, best first, and the mean and interval of their scores."""
    places = {model: last_interaction(table, model) for model in models_of(table)}
    found = [
        [score_of(table, model, *place, target) for target in targets]
        for model, place in places.items()
    ]
    parts = [
        [[getattr(e, part) for e in row] for row in found] for part in ("value", "low", "high")
    ]
    scores = np.asarray(parts)
    order = np.argsort(-np.nan_to_num(scores[0, :, 0], nan=-np.inf), kind="stable")[:MOST_MODELS]
    return [list(places)[i] for i in order], scores[:, order]


def _legend_of_objectives(
    figure: Figure, axes: Sequence[Axes], models: Sequence[str], found: np.ndarray
) -> None:
    """Say what the hues are: inside the panel with most room at the right of its last rows."""
    objectives = [name for name in OBJECTIVES if name in set(map(objective_of, models))]
    if len(objectives) < 2:
        return
    for name in objectives:
        words, hue = OBJECTIVES[name]
        axes[0].plot([], [], "o", color=hue, label=words)
    last = found[..., -len(objectives) - 2 :, :]
    reach = np.where(last[0] < FLOOR, FLOOR, np.nan_to_num(last[2])).max(0)  # (target,)
    best = int(reach.argmin())
    legend(figure, axes, inside=axes[best] if reach[best] < 0.45 else None, title="trained on")


def save_figures(table: xr.Dataset, folder: str | Path) -> list[Path]:
    """Write the figures of a sweep into a folder; return their paths.

    - `headline.png`, of two models or more, and `r2_geom.png`, of more than one score;
    - `learning_curves.png`, of two sizes or more;
    - `null.png`, of results with permutations;
    - `differences.png`, against the first of two models or more, of results with permutations or
      bootstrap replicates.
    """
    models, figures = models_of(table), {}
    if len(models) > 1:
        figures["headline.png"] = plot_headline(table)
    if len(list(present(table))) * table.sizes["target"] > 1:
        figures["r2_geom.png"] = plot_targets(table)
    if table.sizes["size"] > 1:
        figures["learning_curves.png"] = plot_curves(table)
    if "null_r2_geom" in table:
        figures["null.png"] = plot_null(table)
    if len(models) > 1 and ("null_r2_geom" in table or "replicate_r2_geom" in table):
        figures["differences.png"] = plot_differences(
            differences(table, reference=models[0]), table
        )
    return write(figures, folder)
