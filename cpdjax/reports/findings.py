"""The report of `cpdjax reproduce`: findings, tables and figures, as Markdown and HTML."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from cpdjax.files import atomic
from cpdjax.irreps import INVARIANTS
from cpdjax.models import zoo
from cpdjax.models.cards import CARDS
from cpdjax.studies import findings as read
from cpdjax.studies.findings import DIPOLE, GAP, PLACES
from cpdjax.studies.recommend import HEAD, advice, recommend
from cpdjax.studies.reproduce import SHOWN, Reproduction
from cpdjax.studies.routing import TENSORS
from cpdjax.sweeps.table import layers_of, models_of, scores_of


class Section(NamedTuple):
    """A heading, a line about it, and a table or a figure."""

    title: str
    text: str
    head: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    figure: str = ""


def save(found: Reproduction, folder: str | Path) -> list[Path]:
    """Write `report.md`, `report.html` and the figures they show."""
    folder = Path(folder)
    figures = {
        "gradient.png": plot_gradient(found.table),
        "efficiency.png": plot_efficiency(found.table),
        "depth.png": plot_depth(found.table),
    }
    for name, figure in figures.items():
        with atomic(folder / name) as temporary:
            figure.savefig(temporary, dpi=150)
    made = sections(found)
    for name, text in {"report.md": _markdown(made), "report.html": _html(made)}.items():
        with atomic(folder / name) as temporary:
            temporary.write_text(text)
    return [folder / name for name in ("report.md", "report.html", *figures)]


def sections(found: Reproduction) -> list[Section]:
    """All of the report, in order."""
    table = found.table
    n = int(table["size"].values[-1])
    return [
        Section(
            "The paper's findings, and ours",
            "R²_geom by Compositional Probe Decomposition on molecules of QM9 that no trained "
            f"model has seen, N = {n:,} unless said otherwise, mean pooling, α = 1; mean over "
            "folds and repeats with the corrected resampled t interval (95 %). The figures of the "
            "paper are those of J. Steier, arXiv 2603.03155v2.",
            ("finding", "paper", "ours (95 %)", "verdict", "remark"),
            [(f.name, f.paper, f.ours, f.verdict, f.remark) for f in found.findings],
        ),
        Section(
            "Models",
            "R²_geom of the gap, of the dipole moment at the layer that is best for it, and of the "
            "atomization energy likewise; in order of the first. Best layers are chosen on the "
            "scores that they report.",
            _MODELS_HEAD,
            _models(table),
            "gradient.png",
        ),
        Section(
            "Which irrep holds what",
            "R²_geom of gap and dipole moment by the way of making scalars, and R² of equivariant "
            "probes: the Mulliken charges' dipole vector and quadrupole from the channels that "
            "turn as they do (α by leave-one-out).",
            _routes_head(),
            _routes(found),
        ),
        Section(
            "How many molecules it takes",
            "R²_geom of the gap at the last interaction layer, by N.",
            ("model", *(f"{size:,}" for size in table["size"].values)),
            _by_size(table),
            "efficiency.png",
        ),
        Section(
            "Through the layers",
            "R²_geom of the gap, and in brackets the share of the features' variance that "
            "composition explains.",
            ("model", *map(str, read.depth(table).layer.values)),
            _by_layer(table),
            "depth.png",
        ),
        _recommended(found.tables),
    ]


def _recommended(tables: Sequence[xr.Dataset]) -> Section:
    """What to use for each target: in words, and as rows."""
    targets = [str(target) for target in tables[0].target.values]
    ranked = {target: recommend(tables, target, SHOWN) for target in targets}
    words = " ".join(advice(choices, target) for target, choices in ranked.items())
    rows = [(t, *choice.cells) for t, choices in ranked.items() for choice in choices]
    return Section("What to use", words, ("target", *HEAD), rows)


_MODELS_HEAD = (
    "model", "trained on", "test MAE", "last interaction", "gap", "best layer", "gap there",
    "dipole", "energy",
)  # fmt: skip


def _models(table: xr.Dataset) -> list[tuple[str, ...]]:
    rows = []
    for model in _ordered(table):
        (last, _), (best, _) = (place(table, model) for place in PLACES.values())
        card = zoo.card(model)
        error = f"{card['test_mae']:.3f} {card['unit']}" if card else ""
        data = _KINDS[_kind(model)] if card else (CARDS[model].data if model in CARDS else "")
        own = [str(_best_of(table, model, t)) if t in table.target.values else ""
               for t in (DIPOLE, "u0_atom")]  # fmt: skip
        gaps = [str(read.gap_of(table, model, place)) for place in PLACES]
        rows.append((model, data, error, last, gaps[0], best, gaps[1], *own))
    return rows


def _best_of(table: xr.Dataset, model: str, target: str) -> read.Estimate:
    scores = (
        read.estimate(scores_of(table, model, layer, irrep, target))
        for layer, irrep in layers_of(table, model).items()
    )
    return max(scores, key=lambda score: score.value)


def _ordered(table: xr.Dataset) -> list[str]:
    return sorted(models_of(table), key=lambda m: -read.gap_of(table, m).value)


def _routes_head() -> tuple[str, ...]:
    scalars = [f"{target}, {how}" for target in (GAP, DIPOLE) for how in INVARIANTS]
    return ("model", "layer", "irrep", "channels", *scalars, *TENSORS)


def _routes(found: Reproduction) -> list[tuple[str, ...]]:
    rows = []
    for r in found.routes:
        scalars = [f"{r.scalars[how, t].value:.2f}" for t in (GAP, DIPOLE) for how in INVARIANTS]
        tensors = [str(r.tensors.get(t, "")) for t in TENSORS]
        rows.append((r.model, r.layer, r.irrep, str(r.features), *scalars, *tensors))
    return rows


def _by_size(table: xr.Dataset) -> list[tuple[str, ...]]:
    sizes = [int(size) for size in table["size"].values]
    return [
        (model, *(f"{read.gap_of(table, model, size=size).value:.3f}" for size in sizes))
        for model in _ordered(table)
    ]


def _by_layer(table: xr.Dataset) -> list[tuple[str, ...]]:
    found = read.depth(table)
    rows = []
    for model in _ordered(table):
        one = found.sel(model=model)
        cells = [
            f"{score:.2f} ({share:.2f})" if np.isfinite(score) else ""
            for score, share in zip(one.r2_geom.values, one.composition_share.values, strict=True)
        ]
        rows.append((model, *cells))
    return rows


def _markdown(made: Sequence[Section]) -> str:
    parts = []
    for i, section in enumerate(made):
        parts += [f"{'#' if i == 0 else '##'} {section.title}", section.text]
        lines = [section.head, ["---"] * len(section.head), *section.rows]
        parts.append("\n".join("| " + " | ".join(line) + " |" for line in lines))
        if section.figure:
            parts.append(f"![{section.title}]({section.figure})")
    return "\n\n".join(parts) + "\n"


_STYLE = (
    "body{font:16px/1.4 sans-serif;max-width:80em;margin:2em auto;padding:0 1em}"
    "td,th{border:1px solid #ccc;padding:.3em;text-align:left}"
    "table{border-collapse:collapse;font-size:.9em}img{max-width:100%}"
)


def _html(made: Sequence[Section]) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in cells) + "</tr>"

    parts = []
    for i, section in enumerate(made):
        level = 1 if i == 0 else 2
        rows = "".join(line(row, "td") for row in section.rows)
        parts += [
            f"<h{level}>{html.escape(section.title)}</h{level}><p>{html.escape(section.text)}</p>",
            f"<table>{line(section.head, 'th')}{rows}</table>",
        ]
        if section.figure:
            parts.append(f'<p><img src="{section.figure}" alt="{html.escape(section.title)}"></p>')
    head = f"<title>{html.escape(made[0].title)}</title><style>{_STYLE}</style>"
    return f'<!doctype html><meta charset="utf-8">{head}{"".join(parts)}\n'


#: What a model was trained for decides its colour.
_COLOURS = {"-gap": "tab:red", f"-{read.ENERGY}": "tab:blue", "": "tab:gray"}
_KINDS = {"-gap": "QM9, gap", f"-{read.ENERGY}": "QM9, energy", "": "pretrained, or handcrafted"}


def _kind(model: str) -> str:
    return next(kind for kind in _COLOURS if model.endswith(kind))


def _style(model: str, i: int) -> dict[str, Any]:
    """The line of the i-th model: its kind's colour, a marker of its own."""
    return {"color": _COLOURS[_kind(model)], "marker": "osv^D<>pX*hP"[i % 12], "markersize": 4}


def plot_gradient(table: xr.Dataset) -> Figure:
    """R²_geom of the gap of every model, at its last interaction and its best layer."""
    names = _ordered(table)[::-1]
    figure = Figure(figsize=(7, 1.4 + 0.3 * len(names)), layout="constrained")
    axes = figure.subplots()
    for i, model in enumerate(names):
        last, best = (read.gap_of(table, model, place) for place in PLACES)
        colour = _COLOURS[_kind(model)]
        reach = [[last.value - last.low], [last.high - last.value]]
        axes.errorbar([last.value], [i], xerr=reach, fmt="o", color=colour, capsize=2)
        axes.plot([best.value], [i], "|", color=colour, markersize=12)
    for kind in dict.fromkeys(map(_kind, names)):
        axes.plot([], [], "o", color=_COLOURS[kind], label=_KINDS[kind])
    axes.set_yticks(range(len(names)), names)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlabel("R²_geom of the gap: last interaction layer (95 %); bar: best layer")
    figure.legend(loc="outside lower center", ncols=3, fontsize="small")
    return figure


def plot_efficiency(table: xr.Dataset) -> Figure:
    """R²_geom of the gap against the number of molecules, a line a model."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    sizes = [int(size) for size in table["size"].values]
    for i, model in enumerate(_ordered(table)):
        scores = [read.gap_of(table, model, size=size).value for size in sizes]
        style = _style(model, i)
        axes.plot(sizes, np.maximum(scores, -0.2), label=model, **style)
    axes.set_xscale("log")
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xlabel("molecules N")
    axes.set_ylabel("R²_geom of the gap, last interaction layer")
    figure.legend(loc="outside right center", fontsize="small")
    return figure


def plot_depth(table: xr.Dataset) -> Figure:
    """Geometry and composition at every layer, a line a model."""
    found = read.depth(table)
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    labels = {"r2_geom": "R²_geom of the gap", "composition_share": "share of composition"}
    for axes, (name, label) in zip(figure.subplots(1, 2), labels.items(), strict=True):
        for i, model in enumerate(_ordered(table)):
            one = found[name].sel(model=model).dropna("layer")
            style = _style(model, i)
            axes.plot(range(one.sizes["layer"]), one, label=model, **style)
        axes.set_xlabel("layer, from the embedding on")
        axes.set_ylabel(label)
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4, fontsize="small")
    return figure
