"""`cpdjax reproduce`: sweeps over all models at hand, and what they say of the paper."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from e3nn_jax import Irrep
from matplotlib.figure import Figure

from cpdjax import findings as read
from cpdjax import models, results
from cpdjax.errors import InputError
from cpdjax.features import INVARIANTS, Features
from cpdjax.files import atomic
from cpdjax.findings import Finding
from cpdjax.models import trained
from cpdjax.recommend import (
    HEAD,
    PRETRAINED,
    advice,
    as_means,
    at_hand,
    priced,
    recommend,
    save,
)
from cpdjax.sources import collect
from cpdjax.structures import Structures
from cpdjax.sweep import sweep

TARGETS = (read.GAP, read.DIPOLE, "u0_atom")


def reproduce(
    out: str | Path,
    names: Sequence[str] | None = None,
    *,
    n: int = 2000,
    sizes: Sequence[int] | None = None,
    repeats: int = 5,
    seed: int = 0,
    progress: bool = False,
) -> list[Finding]:
    """Every finding of the paper that the models at hand can answer, as a report in a folder.

    `report.md`, `report.html`, two figures, and `results.zarr`, the table behind them. The
    molecules are of QM9's probe set, which no model of the zoo has seen, and of elements that all
    models know. Interrupted and called again, it goes on where it stopped.

    Args:
        names: of models; by default `at_hand()`.
        n, sizes, repeats, seed: as in `cpdjax.sweep`.

    Raises:
        UnknownNameError, InputError, FileError: as `cpdjax.sweep`.
    """
    out, names = Path(out), tuple(names or at_hand())
    structures = _molecules(names, n, seed)
    common: dict[str, Any] = {
        "dataset": structures,
        "repeats": repeats,
        "seed": seed,
        "progress": progress,
    }
    sums = collect(list(names), structures, pool="sum", progress=progress)
    means = [as_means(features, structures) for features in sums]
    main = sweep(means, targets=TARGETS, sizes=sizes, out=out / "sweep", **common)
    tables = {"pool-then-norm": main}
    equivariant = [m for m in names if any(ir.l for ir in _irreps(m))]
    for how in [h for h in INVARIANTS if h not in tables] if equivariant else []:
        tables[how] = sweep(
            equivariant, targets=TARGETS[:2], sizes=[n], invariants=how, out=out / how, **common
        )
    found = [
        *read.gradient(main),
        *read.alignment(main),
        *read.diversity(main, PRETRAINED),
        *read.routing(tables),
        *read.efficiency(main),
    ]
    poolings = [main, *_of_sums(sums, main, out / "sum", common)]
    poolings = priced(poolings, names, structures, _SHOWN)
    save(poolings, out)
    _write(out, poolings, found)
    return found


def _of_sums(
    sums: Sequence[Features], main: xr.Dataset, out: Path, common: dict[str, Any]
) -> list[xr.Dataset]:
    """A sweep with sums over atoms at the largest size, if anything is pooled."""
    own = [features for features in sums if features.pool == "sum"]
    if not own:
        return []
    largest = [int(main["size"][-1])]
    return [sweep(own, targets=TARGETS, sizes=largest, pool="sum", out=out, **common)]


def _molecules(names: Sequence[str], n: int, seed: int) -> Structures:
    """The first `n` molecules of a draw that every model can take."""
    drawn = trained.qm9_probe(trained.PROBE, seed)
    known = np.ones(len(drawn.numbers), bool)
    for name in names:
        elements = models.load(name).elements
        known &= True if elements is None else np.isin(drawn.numbers, elements)
    kept = np.flatnonzero(np.logical_and.reduceat(known, drawn.offsets[:-1]))
    if len(kept) < n:
        raise InputError(f"n: the probe set has {len(kept)} molecules that all models know")
    return drawn.select(kept[:n])


def _irreps(name: str) -> list[Irrep]:
    return [ir for layer in models.load(name).irreps.values() for _, ir in layer]


def _write(out: Path, tables: Sequence[xr.Dataset], found: Sequence[Finding]) -> None:
    table = tables[0]
    for name, figure in {"gradient": _gradient(table), "depth": _depth(table)}.items():
        with atomic(out / f"{name}.png") as temporary:
            figure.savefig(temporary, dpi=150)
    for suffix, text in {"md": _markdown(tables, found), "html": _html(tables, found)}.items():
        with atomic(out / f"report.{suffix}") as temporary:
            temporary.write_text(text)


_HEAD = ("finding", "paper", "ours (95 %)", "verdict", "remark")


def _rows(found: Sequence[Finding]) -> list[tuple[str, ...]]:
    return [(f.name, f.paper, f.ours, f.verdict, f.remark) for f in found]


_SHOWN = 3  # channels of a target, each with its cost


def _best(tables: Sequence[xr.Dataset]) -> tuple[str, list[tuple[str, ...]]]:
    """What to use for each target: in words, and as rows."""
    targets = [str(target) for target in tables[0].target.values]
    ranked = {target: recommend(tables, target, _SHOWN) for target in targets}
    words = " ".join(advice(choices, target) for target, choices in ranked.items())
    return words, [(t, *choice.cells) for t, choices in ranked.items() for choice in choices]


_INTRODUCTION = (
    "R²_geom by Compositional Probe Decomposition on molecules of QM9 that no trained model has "
    "seen, mean pooling, α = 1; mean over folds and repeats with the corrected resampled t "
    "interval. The figures of the paper are those of J. Steier, arXiv 2603.03155v2."
)


def _markdown(tables: Sequence[xr.Dataset], found: Sequence[Finding]) -> str:
    words, best = _best(tables)

    def grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
        lines = [head, ["---"] * len(head), *rows]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)

    return "\n\n".join(
        [
            "# The paper's findings, and ours",
            _INTRODUCTION,
            grid(_HEAD, _rows(found)),
            "## What to use",
            words,
            grid(("target", *HEAD), best),
            "![models by layer](gradient.png)\n\n![composition and geometry by depth](depth.png)\n",
        ]
    )


def _html(tables: Sequence[xr.Dataset], found: Sequence[Finding]) -> str:
    words, best = _best(tables)

    def grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
        def line(cells: Sequence[str], tag: str) -> str:
            return "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells)

        body = "".join(f"<tr>{line(row, 'td')}</tr>" for row in rows)
        return f"<table><tr>{line(head, 'th')}</tr>{body}</table>"

    return (
        '<!doctype html><meta charset="utf-8"><title>The paper\'s findings, and ours</title>'
        "<style>body{font:16px/1.4 sans-serif;max-width:70em;margin:2em auto}"
        "td,th{border:1px solid #ccc;padding:.3em;text-align:left}"
        "table{border-collapse:collapse}img{max-width:100%}</style>"
        f"<h1>The paper's findings, and ours</h1><p>{_INTRODUCTION}</p>{grid(_HEAD, _rows(found))}"
        f"<h2>What to use</h2><p>{html.escape(words)}</p>{grid(('target', *HEAD), best)}"
        '<p><img src="gradient.png" alt="models by layer"></p>'
        '<p><img src="depth.png" alt="composition and geometry by depth"></p>\n'
    )


def _gradient(table: xr.Dataset) -> Figure:
    """R²_geom of the gap at every model's last interaction layer, with intervals."""
    names = list(dict.fromkeys(m for m, _, _ in results.present(table)))
    scores = {
        m: read.estimate(read.scores_of(table, m, *read.last_interaction(table, m), read.GAP))
        for m in names
    }
    names.sort(key=lambda m: scores[m].value)
    figure = Figure(figsize=(7, 1 + 0.3 * len(names)), layout="constrained")
    axes = figure.subplots()
    values = [scores[m].value for m in names]
    reach = [[scores[m].value - scores[m].low for m in names]] * 2
    axes.errorbar(values, range(len(names)), xerr=reach, fmt="o")
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("R²_geom of the gap, last interaction layer (95 % interval)")
    return figure


def _depth(table: xr.Dataset) -> Figure:
    """Geometry and composition at every layer."""
    found = read.depth(table)
    figure = Figure(figsize=(9, 4), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2), ("r2_geom", "composition_share"), strict=True):
        for model in found.model.values:
            one = found[name].sel(model=model).dropna("layer")
            axes.plot(range(one.sizes["layer"]), one, "o-", label=str(model))
        axes.set_xlabel("layer")
        axes.set_ylabel({"r2_geom": "R²_geom of the gap"}.get(name, "share of composition"))
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure
