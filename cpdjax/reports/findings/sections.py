"""The sections of the report, in order: what to believe, the findings, the tables behind them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from cpdjax.reports.findings import tables
from cpdjax.reports.findings.summary import CHANGES, may_believe
from cpdjax.reports.objectives import training_of
from cpdjax.reports.pages.page import Section
from cpdjax.studies.finding import Finding
from cpdjax.studies.findings import OF_PAPER, of_paper
from cpdjax.studies.findings.depth import depth
from cpdjax.studies.findings.routing import routing_layer
from cpdjax.studies.measured import Measured, Where
from cpdjax.studies.quantities import ATOMIZED, same_target
from cpdjax.studies.recommendation import HEAD, advice, certain, recommend
from cpdjax.studies.reproduction import SHOWN, Reproduction
from cpdjax.studies.settings import TENSORS

_CHOICES = (
    "Which of the paper's four checks are its own: the isomers for certain; composition, leakage "
    "and planted signals are our choice of the other three.",
    "Rules and bounds of verdicts, the ten models, and MACE's stand-in on MPTraj.",
    "Means over atoms, the last interaction layer, norms of pooled vectors, five folds in five "
    "repeats, and energies of atomization in place of total ones.",
    "The target of the trees (heavy atoms), and the smallest differences of isomers.",
    "That 0.756 and 0.877 are R²_full: they exceed 1 − R²_comp, which bounds R²_geom.",
)


def sections(found: Reproduction) -> list[Section]:
    """Return the sections of the report, in order."""
    measured = found.measured
    paper = of_paper(found.findings)
    others = [finding for finding in found.findings if finding.key not in OF_PAPER]
    made = [
        Section(
            "The paper's findings: what a reader may believe", "",
            points=may_believe(measured, found.findings),
        ),
        _findings("The paper's findings, and ours", _INTRODUCTION, paper),
        _models(measured),
        _findings("What a referee asks", "By the same rules: other ways of asking, controls, and "
                  "the paper's advice.", others),
        _targets(measured), _routes(measured), _sizes(measured), _layers(measured),
        _isomers(measured), _steps(measured), _recommendation(found),
        Section("What is our choice", "", points=_CHOICES),
        Section("What would change our mind", "", points=CHANGES),
    ]  # fmt: skip
    return [section for section in made if section.rows or section.points]


_INTRODUCTION = (
    "R²_geom of Compositional Probe Decomposition on molecules of QM9 that no model of the zoo has "
    "seen: means over atoms, α = 1, last interaction layer, unless a line says otherwise. "
    "Intervals (95 %) are over training runs where there are several, and over molecules and "
    "folds. The paper's values are those of J. Steier, arXiv 2603.03155v2."
)


def _findings(title: str, text: str, found: list[Finding]) -> Section:
    head = ("finding", "paper", "ours (95 %)", "verdict", "rule", "remark")
    rows = [(f.name, f.paper, f.ours, f.verdict, f.rule, f.remark) for f in found]
    return Section(title, text, head, rows)


def _models(measured: Measured) -> Section:
    head = (
        "model", "trained on", "runs", "layer", "columns", "gap", "median", "five draws",
        "best layer", "gap there", "α loo", "24 columns", "beyond bonds", "and groups", "R²_full",
    )  # fmt: skip
    rows = [
        (
            row.model, training_of(str(row.model)), str(row.runs), row.layer, str(row.columns),
            _cell(row, "r2_geom"), _number(row["median"]), _cell(row, "draws"), row.best,
            *(_cell(row, name) for name in list(tables.COLUMNS)[1:]),
        )
        for _, row in tables.models(measured).iterrows()
    ]  # fmt: skip
    return Section(
        "Models and controls",
        "R²_geom of the gap, in order, the controls among the models: at the last interaction "
        "layer; over disjoint draws of molecules, with a plain standard error; at the layer that "
        "is best on other molecules; with α by leave-one-out; from 24 principal components; beyond "
        "bonds and rings, and beyond functional groups as well; and R²_full.",
        head, rows, "gradient.png",
        "R²_geom of the gap, a row for each model and control in order of its score: dots with "
        "95 % intervals at the last interaction layer, bars at the best layer, rings beyond the "
        "graph.",
    )  # fmt: skip


def _cell(row: pd.Series, name: str) -> str:
    if np.isnan(row[name]):
        return ""
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return f"{row[name]:.3f} ({low:.3f}, {high:.3f})"


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.3f}"


def _targets(measured: Measured) -> Section:
    """Show every target from every model: the diagonal is what a model was trained on."""
    own = [target for target in ATOMIZED if target in measured.table().target.values]
    rows = []
    for model in measured.models():
        cells = []
        for target in own:
            score = tables.asked(measured, model, Where(target))
            mark = "*" if same_target(measured.trained_on.get(model, ""), target) else ""
            cells.append("" if score is None else f"{score.value:.2f}{mark}")
        rows.append((model, *cells))
    return Section(
        "Objectives and targets",
        "R²_geom of every target at the last interaction layer; a star marks the target that a "
        "model was trained on.",
        ("model", *own), rows,
    )  # fmt: skip


def _routes(measured: Measured) -> Section:
    rows = []
    for model in measured.models():
        layer, irreps = routing_layer(measured.table(), model) or ("", [])
        for irrep in irreps:
            at = [
                Where(target, layer=layer, irrep=irrep, score=score)
                for target in ("gap", "mu") for score in ("r2_geom", "r2_full")
            ]  # fmt: skip
            others = [
                Where(target, setting, layer=layer, irrep=irrep)
                for target in ("gap", "mu") for setting in ("norm-then-pool", "power-spectrum")
            ]  # fmt: skip
            tensors = [Where(t, "equivariant", layer=layer, irrep=irrep) for t in TENSORS]
            cells = (_told(measured, model, where) for where in (*at, *others, *tensors))
            rows.append((model, layer, irrep, *cells))
    head = (
        "model", "layer", "irrep", "gap", "gap R²_full", "mu", "mu R²_full",
        "gap, norms first", "gap, products", "mu, norms first", "mu, products", *TENSORS,
    )  # fmt: skip
    return Section(
        "Which irrep holds what",
        "R²_geom and R²_full of the gap and of the dipole moment (mu) from each irrep of the layer "
        "with most, as norms of pooled vectors; R²_geom of norms that are pooled, and of products; "
        "and R² of equivariant probes of the dipole vector and the quadrupole.",
        head, rows,
    )  # fmt: skip


def _told(measured: Measured, model: str, where: Where) -> str:
    try:
        score = tables.asked(measured, model, where)
    except (KeyError, ValueError):  # a model without this irrep in this setting
        return ""
    return "" if score is None or np.isnan(score.value) else f"{score.value:.2f}"


def _sizes(measured: Measured) -> Section:
    curves = tables.curves(measured)
    if curves.empty:
        return Section("How many molecules it takes", "")
    setting = "test" if "test" in set(curves.setting) else "curve"
    own = curves[curves.setting == setting].pivot(index="model", columns="N", values="r2_geom")
    own = own.sort_values(own.columns[-1], ascending=False)
    words = {
        "test": "with a fixed test set", "curve": "five folds inside the N molecules"
    }[setting]  # fmt: skip
    return Section(
        "How many molecules it takes",
        f"R²_geom of the gap at the last interaction layer, by the number of molecules N, {words}.",
        ("model", *(f"N = {size:,}" for size in own.columns)),
        [
            (str(model), *map(_number, row))
            for model, row in zip(own.index, own.values, strict=True)
        ],
        "efficiency.png",
        "R²_geom of the gap against the number of molecules, a line for each model.",
    )


def _layers(measured: Measured) -> Section:
    by_layer = depth(measured)
    rows = []
    for model in map(str, by_layer.model.values):
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
        ("model", *map(str, by_layer.layer.values)), rows, "depth.png",
        "R²_geom of the gap, and the share of the features' variance that composition explains, "
        "layer by layer, a line for each model.",
    )  # fmt: skip


def _isomers(measured: Measured) -> Section:
    frame = measured.frames.get("isomers", pd.DataFrame())
    if frame.empty:
        return Section("Isomers", "")
    limits = [name for name in frame if name.startswith("above ")]
    frame = frame.sort_values("accuracy", ascending=False)
    rows = [
        (
            row.model, f"{row.pairs:,}", _cell(row.rename({"low": "accuracy_low", "high":
            "accuracy_high"}), "accuracy"), _number(row.rho), _number(row.law),
            *(_number(row[name]) for name in limits),
        )
        for _, row in frame.iterrows()
    ]  # fmt: skip
    return Section(
        "Isomers",
        "Share of pairs of one formula that the residual orders by their gap; ρ, the correlation "
        "of the differences, and ½ + arcsin(ρ)/π, which says the same; and the share among pairs "
        "that differ by more than an energy in eV.",
        ("model", "pairs", "accuracy", "ρ", "law", *limits), rows,
    )  # fmt: skip


def _steps(measured: Measured) -> Section:
    """Show what every step from our procedure to the author's library does to the gap."""
    frame = measured.frames.get("steps", pd.DataFrame())
    if frame.empty:
        return Section("As the author's library", "")
    steps = list(dict.fromkeys(frame.step))
    own = frame.pivot(index="model", columns="step", values="r2")[steps]
    return Section(
        "As the author's library",
        "R²_geom of the gap, mean over five folds, as one choice after another is made as the "
        "author's library makes it; earlier changes stay. Much of the first molecules of QM9 was "
        "trained on.",
        ("model", *steps),
        [(str(name), *map(_number, row)) for name, row in zip(own.index, own.values, strict=True)],
    )


def _recommendation(found: Reproduction) -> Section:
    if not found.tables:
        return Section("What to use", "")
    targets = [str(target) for target in found.tables[-1].target.values]
    ranked = {target: recommend(found.tables, target, None) for target in targets}
    best = {target: certain(choices)[:SHOWN] for target, choices in ranked.items()}
    words = " ".join(advice(best[t] or c, t) for t, c in ranked.items() if c)
    rows = [(t, *choice.cells) for t, choices in best.items() for choice in choices]
    text = f"Models that were trained on the target itself are left out. {words}"
    return Section("What to use", text, ("target", *HEAD), rows)
