"""The report of `cpdjax reproduce`: findings, tables and figures, as Markdown and HTML."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from cpdjax.irreps import INVARIANTS
from cpdjax.models import naming, zoo
from cpdjax.models.cards import card_of
from cpdjax.models.registry import pretrained
from cpdjax.reports.figures import write
from cpdjax.reports.finding_figures import plot_all
from cpdjax.reports.objectives import training_of
from cpdjax.reports.pages import imprint, page
from cpdjax.reports.pages.page import Section
from cpdjax.studies.findings import DIPOLE, GAP, PLACES, depth, gap_score, models_by_gap
from cpdjax.studies.recommendation import HEAD, advice, certain, recommend
from cpdjax.studies.reproduction import SHOWN, Reproduction
from cpdjax.studies.routing import TENSORS
from cpdjax.sweeps.table import layers_of, scores_of
from cpdjax.uncertainty.comparison import Estimate, estimate


def save(found: Reproduction, folder: str | Path, command: str = "") -> list[Path]:
    """Write `report.md`, `report.html` and their figures into a folder; return the paths."""
    folder = Path(folder)
    figures = plot_all(found.table)
    written = write(figures, folder)
    origin = imprint.of_table(found.table, command)
    return [*page.save(sections(found), written, folder, "report", origin), *written]


def sections(found: Reproduction) -> list[Section]:
    """Return the sections of the report, in order."""
    return [
        _findings(found),
        _models(found.table),
        _routes(found),
        _sizes(found.table),
        _layers(found.table),
        _recommendation(found.tables),
    ]


def _findings(found: Reproduction) -> Section:
    n = int(found.table["size"].values[-1])
    return Section(
        "The paper's findings, and ours",
        "R²_geom of Compositional Probe Decomposition on molecules of QM9 that no trained model "
        f"has seen. Unless said otherwise, N = {n:,} molecules, features are means over atoms, and "
        "α = 1. Each value is a mean over folds and repeats with its corrected resampled t "
        "interval (95 %). The paper's values are those of J. Steier, arXiv 2603.03155v2.",
        ("finding", "paper", "ours (95 %)", "verdict", "remark"),
        [(f.name, f.paper, f.ours, f.verdict, f.remark) for f in found.findings],
    )


def _models(table: xr.Dataset) -> Section:
    head = (
        "model", "trained on", "test MAE", "last interaction layer", "gap there", "best layer",
        "gap there", "dipole moment", "atomization energy",
    )  # fmt: skip
    return Section(
        "Models",
        "R²_geom of the gap at the last interaction layer and at the layer that is best for it, in "
        "order of the first; of the dipole moment and of the atomization energy, each at the layer "
        "that is best for it. Best layers are chosen on the scores that they report.",
        head,
        [_model_row(table, model) for model in models_by_gap(table)],
        "gradient.png",
        "R²_geom of the gap, a row for each model in order of its score: dots with 95 % intervals "
        "at the last interaction layer, and bars at the best layer.",
    )


def _model_row(table: xr.Dataset, model: str) -> tuple[str, ...]:
    (last, _), (best, _) = (place(table, model) for place in PLACES.values())
    gap_at_last, gap_at_best = (str(gap_score(table, model, place)) for place in PLACES)
    shipped = f"{naming.SHIPPED}{model}"  # whatever lies in the folder where this runs
    card = zoo.card(shipped) if model in naming.shipped(runs=True) else {}
    if card:
        data, error = training_of(model), f"{card['test_mae']:.3f} {card['unit']}"
    else:
        data, error = (card_of(shipped).data if model in pretrained() else ""), ""
    others = [
        str(_best_score(table, model, target)) if target in table.target.values else ""
        for target in (DIPOLE, "u0_atom")
    ]
    return (model, data, error, last, gap_at_last, best, gap_at_best, *others)


def _best_score(table: xr.Dataset, model: str, target: str) -> Estimate:
    scores = (
        estimate(scores_of(table, model, layer, irrep, target))
        for layer, irrep in layers_of(table, model).items()
    )
    return max(scores, key=lambda score: score.value)


def _routes(found: Reproduction) -> Section:
    columns = [(target, how) for target in (GAP, DIPOLE) for how in INVARIANTS]
    return Section(
        "Which irrep holds what",
        "R²_geom of the gap and of the dipole moment (mu) from each irrep, for three ways of "
        "making scalars; and R² of equivariant probes, which predict the dipole vector and the "
        "quadrupole of the Mulliken charges from the channels that turn with the molecule as they "
        "do (α by leave-one-out).",
        (
            "model", "layer", "irrep", "features",
            *(f"{target}, {how}" for target, how in columns), *TENSORS,
        ),
        [
            (
                route.model, route.layer, route.irrep, str(route.features),
                *(f"{route.scalars[how, target].value:.2f}" for target, how in columns),
                *(str(route.tensors.get(target, "")) for target in TENSORS),
            )
            for route in found.routes
        ],
    )  # fmt: skip


def _sizes(table: xr.Dataset) -> Section:
    sizes = [int(size) for size in table["size"].values]
    return Section(
        "How many molecules it takes",
        "R²_geom of the gap at the last interaction layer, by the number of molecules N.",
        ("model", *(f"N = {size:,}" for size in sizes)),
        [
            (model, *(f"{gap_score(table, model, size=size).value:.3f}" for size in sizes))
            for model in models_by_gap(table)
        ],
        "efficiency.png",
        "R²_geom of the gap against the number of molecules, a line for each model.",
    )


def _layers(table: xr.Dataset) -> Section:
    by_layer = depth(table)
    rows = []
    for model in models_by_gap(table):
        own = by_layer.sel(model=model)
        cells = [
            f"{score:.2f} ({share:.2f})" if np.isfinite(score) else ""
            for score, share in zip(own.r2_geom.values, own.composition_share.values, strict=True)
        ]
        rows.append((model, *cells))
    return Section(
        "Through the layers",
        "R²_geom of the gap, and in brackets the share of the features' variance that composition "
        "explains.",
        ("model", *map(str, by_layer.layer.values)),
        rows,
        "depth.png",
        "R²_geom of the gap, and the share of the features' variance that composition explains, "
        "layer by layer, a line for each model.",
    )


def _recommendation(tables: Sequence[xr.Dataset]) -> Section:
    targets = [str(target) for target in tables[0].target.values]
    ranked = {target: recommend(tables, target, None) for target in targets}
    best = {target: certain(choices)[:SHOWN] for target, choices in ranked.items()}
    words = " ".join(advice(best[t] or choices, t) for t, choices in ranked.items())
    rows = [(t, *choice.cells) for t, choices in best.items() for choice in choices]
    return Section("What to use", words, ("target", *HEAD), rows)
