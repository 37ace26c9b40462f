"""Figures of a sweep: its headline, and all that go into a folder of results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cpdjax.reports.channel_figures import (
    LAST_LAYER,
    grey_text,
    head_panels,
    largest,
    lowest,
    plot_curves,
    plot_targets,
    shown_targets,
)  # fmt: skip
from cpdjax.reports.figures import (
    height_below,
    label_rows,
    label_width,
    legend,
    panels,
    plot_intervals,
    shared_legend,
    write,
)  # fmt: skip
from cpdjax.reports.objectives import CONTROLS, OBJECTIVES, hue_of, objective_of
from cpdjax.reports.significance_figures import plot_differences, plot_null
from cpdjax.reports.style import FLOOR, ROW, styled
from cpdjax.sweeps.differences import differences
from cpdjax.sweeps.table import (
    models_of,
    overlap,
    present,
    runs_in,
    score_of_runs,
    scores_of_runs,
    setting,
    trained_on,
)
from cpdjax.uncertainty.comparison import estimate

#: How many targets and models the headline has, and how many panels in a row.
MOST_TARGETS, MOST_MODELS, ACROSS = 6, 40, 3

#: Headings of projections that take more than composition; captions say what.
_TITLES = {
    "bonds": "Geometry beyond the graph",
    "groups": "Geometry beyond the graph",
    "within": "Geometry within molecules",
}


@styled
def plot_headline(table: xr.Dataset) -> Figure:
    """Plot R²_geom model by model, with 95 % intervals: a panel for each target.

    A model is represented by its last interaction layer, all irreps together. The models are in
    order of the first panel's target, and their hue tells what they were trained on. The training
    runs of one model are one row: a small dot each, their mean with an interval that counts them,
    and a broad one over molecules and folds alone. Where there are controls, a dashed line goes
    through the best of those without a coordinate, and another through the best of those with
    random weights.
    """
    targets, note = shown_targets(table, MOST_TARGETS)
    models, found = _estimates(table, list(targets))
    lines = _lines_of_controls(list(models), found)
    first, known = [runs[0] for runs in models.values()], trained_on(table)
    objectives = _objectives({model: known.get(model, "") for model in first})
    inside = _panel_with_room(found, len(objectives))
    across = len(targets) if len(targets) <= 4 else ACROSS
    size = (2.0, (ROW + 0.04) * len(models) + 0.3)
    left = label_width(models)
    below = 0.0 if inside is not None else height_below(objectives, left + size[0] * across)
    figure, axes = panels(
        len(targets), across=across, size=size, margin=(left, 0.5 + below), sharex=True,
        sharey=True, xlabel="R²_geom",
        title=_TITLES.get(setting(table, "projection"), "Geometry beyond composition"),
        text="; ".join(filter(None, (*_caption(table, models, bool(lines)), note))),
    )  # fmt: skip
    axes[0].set_xlim(lowest(found[:2]), 1)
    hues = [hue_of(model, known.get(model, "")) for model in first]
    head_panels(axes, table, targets, size[0])
    for t, (panel, target) in enumerate(zip(axes, targets, strict=True)):
        for objective, values in lines.items():
            hue = OBJECTIVES[objective][1]
            panel.axvline(values[t], color=hue, linewidth=0.8, linestyle="--", zorder=1)
        plot_intervals(panel, range(len(models)), found[..., t], hues)
        _plot_runs(panel, table, list(models.values()), target, hues)
    label_rows(axes, [(model, hue, False) for model, hue in zip(models, hues, strict=True)])
    _legend_of_objectives(figure, axes, objectives, inside)
    return figure


def _caption(
    table: xr.Dataset, models: Mapping[str, Sequence[str]], has_lines: bool
) -> Iterator[str]:
    """Yield what the caption of the headline says."""
    repeats, folds = table.sizes["repeat"], table.sizes["fold"]
    yield from (table.attrs.get("dataset", ""), largest(table), LAST_LAYER)
    if overlap(table) is None:
        yield f"mean and 95 % interval (corrected resampled t) over {repeats} × {folds} folds"
    else:
        yield f"mean and 95 % interval over {repeats} training sets, for the same test molecules"
    if any(len(runs) > 1 for runs in models.values()):
        yield "small dots: training runs, broad interval: without their spread"
    yield grey_text(table)
    if has_lines:
        yield "dashed: the best control of each kind"


def _lines_of_controls(
    models: Sequence[str], found: Float[np.ndarray, "3 model target"]
) -> dict[str, Float[np.ndarray, " target"]]:
    """Return for each kind of control the score of its best model, target by target."""
    lines = {}
    for objective in CONTROLS:
        own = [i for i, model in enumerate(models) if objective_of(model) == objective]
        if own:
            lines[objective] = np.nan_to_num(found[0, own], nan=-np.inf).max(0)
    return lines


def _estimates(
    table: xr.Dataset, targets: list[str]
) -> tuple[dict[str, list[str]], Float[np.ndarray, "3 model target"]]:
    """Return the models, best first, with their runs; and the mean and interval of their scores."""
    models = runs_in(table)
    found = [[score_of_runs(table, runs, target) for target in targets] for runs in models.values()]
    parts = [
        [[getattr(e, part) for e in row] for row in found] for part in ("value", "low", "high")
    ]
    scores = np.asarray(parts)
    order = np.argsort(-np.nan_to_num(scores[0, :, 0], nan=-np.inf), kind="stable")[:MOST_MODELS]
    names = list(models)
    return {names[i]: models[names[i]] for i in order.tolist()}, scores[:, order]


def _plot_runs(
    panel: Axes, table: xr.Dataset, models: list[list[str]], target: str, hues: Sequence[str]
) -> None:
    """Plot every training run as a small dot, and the interval that leaves their spread out."""
    left, right = panel.get_xlim()
    for row, (runs, hue) in enumerate(zip(models, hues, strict=True)):
        if len(runs) > 1:
            scores = scores_of_runs(table, runs, target)
            alone = estimate(scores.mean(0), overlap=overlap(table))
            each = scores.mean((1, 2))
            low, high = np.clip([alone.low, alone.high], left, right)
            panel.hlines(row, low, high, colors=hue, linewidth=4, alpha=0.3, zorder=1)
            inside = each[(left <= each) & (each <= right)]
            panel.plot(inside, np.full(len(inside), row + 0.28), ".", color=hue, markersize=3)


def _objectives(trained: Mapping[str, str]) -> dict[str, str]:
    """Return what the hues mean, in the order of legends; nothing if there is one hue.

    Args:
        trained: the models, each with the target that it was trained on.
    """
    known = {objective_of(*model) for model in trained.items()}
    found = {words: hue for name, (words, hue) in OBJECTIVES.items() if name in known}
    return found if len(found) > 1 else {}


def _panel_with_room(found: Float[np.ndarray, "3 model target"], entries: int) -> int | None:
    """Return the panel with most room for a legend at the right of its last rows, if any has."""
    last = found[:, -entries - 2 :, :]
    reach = np.where(last[0] < FLOOR, FLOOR, np.nan_to_num(np.fmax(last[0], last[2]))).max(0)
    best = int(reach.argmin())
    return best if reach[best] < 0.45 else None


def _legend_of_objectives(
    figure: Figure, axes: Sequence[Axes], objectives: Mapping[str, str], inside: int | None
) -> None:
    """Say what the hues are: inside the panel that has room, or else below all."""
    for words, hue in objectives.items():
        axes[0].plot([], [], "o", color=hue, label=words)
    if objectives and inside is not None:
        legend(figure, axes, inside=axes[inside], title="trained on")
    elif objectives:
        shared_legend(figure, axes[0], "trained on")


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
