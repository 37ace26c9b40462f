"""The report of a sweep as one HTML file: the headline, every score, curves, provenance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import xarray as xr

from cpdjax.reports import hints
from cpdjax.reports.objectives import controls_note
from cpdjax.reports.pages import imprint, page
from cpdjax.reports.pages.page import Section
from cpdjax.reports.scores import summary, targets_of
from cpdjax.reports.significance import runs_table
from cpdjax.reports.symbols import symbol_text, target_text
from cpdjax.reports.text import left_out_text, p_text, score_text
from cpdjax.sweeps.table import beyond, explained, models_of, present

#: What the table of a page holds; the results hold every row.
MOST_ROWS = 1000

_READ = (
    "R²_geom is the R² on held-out molecules of a Ridge regression from a model's features after "
    "composition has been taken out of them: how much geometric information is linearly accessible "
    "there. R²_comp is the R² of the numbers of atoms of each element alone; a target with an "
    "R²_comp near 1 leaves hardly anything for geometry to explain. Zero means no better than the "
    "mean of the held-out molecules, and values below zero are worse than that: a few molecules "
    "lie outside what the training molecules span, or there are too few of them for so many "
    "features."
)
_CITE = (
    "Please cite the paper whose method this is, J. Steier, Information Routing in Atomistic "
    "Foundation Models: How Task Alignment and Equivariance Shape Linear Disentanglement, "
    "arXiv 2603.03155 (2026), and cpdjax with the version above."
)

#: Title, text and alternative text of every figure, by its file's name, in the page's order.
_FIGURES = {
    "headline.png": (
        "", "",
        "R²_geom at each model's last interaction layer: dots with 95 % intervals, a row for each "
        "model and a panel for each target; R²_comp is marked.",
    ),
    "r2_geom.png": (
        "Target by target", "R²_geom at the largest number of molecules.",
        "R²_geom by target and channel at the largest number of molecules.",
    ),
    "learning_curves.png": (
        "How many molecules it takes", "R²_geom against the number of molecules N.",
        "R²_geom against the number of molecules, a panel for each target.",
    ),
    "null.png": (
        "Against chance",
        "R²_geom of the targets beside those of permuted targets, which hold no information.",
        "Histograms of R²_geom of permuted targets, with the score as a line.",
    ),
    "differences.png": (
        "Differences of models", "Differences of R²_geom with their 95 % intervals.",
        "Differences of R²_geom between models with 95 % intervals, a panel for each target.",
    ),
}  # fmt: skip


def save(table: xr.Dataset, figures: Sequence[Path], folder: Path, command: str = "") -> Path:
    """Write `report.html` into a folder, with the figures that `save_figures` wrote there."""
    origin = replace(imprint.of_table(table, command), hints=hints.hints(table))
    text = page.to_html(sections(table, [path.name for path in figures]), origin, folder)
    return page.write(folder / "report.html", text)


def sections(table: xr.Dataset, figures: Sequence[str]) -> list[Section]:
    """Return the sections of the page.

    Args:
        table: results of a sweep.
        figures: the file names of the figures that there are; the first one stands on top.
    """
    known = [name for name in _FIGURES if name in figures]
    known += [name for name in figures if name not in _FIGURES]
    top, *others = [_figure(name) for name in known] or [Section("", "")]
    return [
        top._replace(title=_title(table), text=_lead(table)),
        Section("How to read the numbers", _READ),
        _scores(table),
        *_runs(table),
        *others,
        *_uncertainty(table),
        Section("How to cite", _CITE),
    ]


def _title(table: xr.Dataset) -> str:
    models = models_of(table)
    what = models[0] if len(models) == 1 else f"{len(models)} models"
    return f"What {what} know{'s' if len(models) == 1 else ''} beyond {beyond(table)}"


def _lead(table: xr.Dataset) -> str:
    """Say what was probed, and which score is highest."""
    n, channels = int(table["size"].values[-1]), list(present(table))
    units = dict(targets_of(table))
    targets = list(units)
    scores = summary(table).isel(size=-1)
    best = []
    for target in targets[:3]:
        own = scores["median"].sel(target=target)
        if np.isfinite(own).any():
            at = int(own.argmax("channel"))
            symbol = symbol_text(target, units[target])
            best.append(f"{symbol} {float(own[at]):.2f} by {scores.channel.values[at]}")
    said = f" Highest R²_geom: {'; '.join(best)}." if best else ""
    of_targets = f"{len(targets)} targets" if len(targets) > 1 else f"target {targets[0]}"
    return f"{len(channels)} channels, {of_targets}, up to N = {n:,} molecules.{said}"


def _figure(name: str) -> Section:
    title, text, alt = _FIGURES.get(name, (Path(name).stem.replace("_", " "), "", ""))
    return Section(title, text, figure=name, alt=alt)


def _scores(table: xr.Dataset) -> Section:
    """Return the table of every channel and target at the largest size."""
    scores = summary(table).isel(size=-1)
    heads = [target_text(*target) for target in targets_of(table)]
    composition = [score_text(score) for score in scores.r2_comp.values]
    rows = [("R²_comp", "", "", "", *composition)]
    what = beyond(table)
    score = "R²_geom" if what == "composition" else f"R²_geom beyond {what}"
    if what != "composition":
        further = explained(table).isel(size=-1).median(("fold", "repeat")).values
        rows.append((f"R² of {what}", "", "", "", *map(score_text, further)))
    for i, (model, layer, irrep) in enumerate(present(table)):
        own = scores.isel(channel=i)
        count = int(table.n_features.sel(model=model, layer=layer, irrep=irrep))
        cells = map(_cell, own["median"].values, own["lower"].values, own["upper"].values)
        rows.append((model, layer, irrep, str(count), *cells))
    more = left_out_text(channels=max(len(rows) - 1 - MOST_ROWS, 0))
    return Section(
        "All scores",
        f"{score} at N = {int(scores['size']):,}: the median over folds and repeats, in brackets "
        f"the quartiles. A heading sorts its column.{f' {more}.' if more else ''}"
        + "".join(f" {line}" for line in controls_note(models_of(table))),
        ("model", "layer", "irrep", "features", *heads),
        rows[: MOST_ROWS + 1],
    )


def _cell(median: float, lower: float, upper: float) -> str:
    text = score_text(median)
    return text if text == "undefined" else f"{text} ({score_text(lower)}, {score_text(upper)})"


def _runs(table: xr.Dataset) -> list[Section]:
    """Return the table of models with several training runs, where there are some."""
    sheet = runs_table(table)
    if sheet is None:
        return []
    head = [column.head for column in sheet.columns]
    return [Section("Training runs", f"{sheet.title}. {' '.join(sheet.notes)}", head, sheet.rows)]


def _uncertainty(table: xr.Dataset) -> list[Section]:
    """Return the table of intervals and p-values, where there are some."""
    if "r2_geom_low" not in table and "p_adjusted" not in table:
        return []
    first = table.isel(alpha=0)
    rows = []
    for model, layer, irrep in present(table):
        for target in table.target.values:
            own = first.sel(model=model, layer=layer, irrep=irrep, target=target)
            interval = [float(own[k]) for k in ("r2_geom_low", "r2_geom_high") if k in own]
            chance = [float(own[k]) for k in ("p_value", "p_adjusted") if k in own]
            cells = [score_text(x) for x in interval] + [p_text(p) for p in chance]
            rows.append((model, layer, irrep, str(target), *cells))
    head = ["model", "layer", "irrep", "target"]
    head += ["low (95 %)", "high (95 %)"] if "r2_geom_low" in table else []
    head += ["p", "adjusted p"] if "p_adjusted" in table else []
    text = (
        "Intervals are those of a bootstrap over molecules, and p-values those of permuted "
        "targets, of the mean over folds at the largest N in the first repeat."
    )
    more = left_out_text(rows=max(len(rows) - MOST_ROWS, 0))
    text += f" {more}." if more else ""
    return [Section("How sure the scores are", text, head, rows[:MOST_ROWS])]
