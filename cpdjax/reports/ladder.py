"""The scores of the ladder, as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from cpdjax.probes.ladder import Ladder
from cpdjax.reports.objectives import controls_note
from cpdjax.reports.sheet import Column, Sheet
from cpdjax.reports.symbols import target_text

_NOTE = (
    "R²: median over folds. Added: less the R² of the rung above. Beyond: R²_geom of the features "
    "when all up to this rung is taken out of them."
)


def text_table(
    found: Ladder, targets: Sequence[str], title: str = "", units: Sequence[str] | None = None
) -> Sheet:
    """Return a table with a row for every target and rung.

    What a rung adds is the difference of the medians that stand beside it, as they are printed; the
    median of the folds' own differences is another number.
    """
    units = [""] * len(targets) if units is None else units
    columns = [Column("target", "group"), Column("rung", "name"), Column("columns")]
    columns += [Column(name) for name in ("R²", "added", "beyond")]
    rows, records = [], []
    for t, (target, unit) in enumerate(zip(targets, units, strict=True)):
        r2 = np.median(found.r2[..., t], axis=1)
        beyond = [*np.median(found.r2_geom[..., t], axis=1), np.nan]
        printed = np.diff(r2.round(3), prepend=0)
        for i, rung in enumerate(found.rungs):
            record: dict[str, Any] = {"target": target, "unit": unit, "rung": rung}
            record |= {"columns": found.columns[i], "r2": r2[i]}
            record |= {"r2_added": r2[i] - (r2[i - 1] if i else 0), "r2_geom_beyond": beyond[i]}
            records.append(record)
            cells = [target_text(target, unit), rung, f"{found.columns[i]:,}"]
            cells += [f"{r2[i]:.3f}", f"{printed[i]:+.3f}"]
            rows.append([*cells, "" if np.isnan(beyond[i]) else f"{beyond[i]:.3f}"])
    return Sheet("ladder", title, columns, rows, records, (_NOTE,))


_OF_MODELS = (
    "R²: median over folds; of a model, with all concepts. Added: less the R² of the last concepts "
    "above. Beyond 1, 2, 3: R²_geom when all up to these concepts is taken out of the features."
)


def table_of_models(
    found: Mapping[str, Ladder],
    targets: Sequence[str],
    title: str = "",
    units: Sequence[str] | None = None,
) -> Sheet:
    """Return a table of the ladders of several models on the same molecules, folds and concepts.

    For every target the rungs of concepts come first, which no model changes, and then the geometry
    of every model. What a row adds is the difference of the medians that stand in its column of R²,
    as they are printed.
    """
    units = [""] * len(targets) if units is None else units
    concepts = next(iter(found.values())).rungs[:-1]
    columns = [Column("target", "group"), Column("concepts or model", "name"), Column("columns")]
    columns += [Column("R²"), Column("added")]
    columns += [Column(f"beyond {i + 1}") for i in range(len(concepts))]
    rows, records = [], []
    for t, (target, unit) in enumerate(zip(targets, units, strict=True)):
        for name, record in _of_target(found, concepts, t):
            beyond = record["r2_geom_beyond"].values()
            cells = [target_text(target, unit), name, f"{record['columns']:,}"]
            below = record["r2"] - record["r2_added"]
            cells.append(f"{record['r2']:.3f}")
            cells.append(f"{round(record['r2'], 3) - round(below, 3):+.3f}")
            rows.append([*cells, *("" if x is None else f"{x:.3f}" for x in beyond)])
            records.append({"target": target, "unit": unit, **record})
    notes = (_OF_MODELS, *controls_note(found))
    return Sheet("ladder", title, columns, rows, records, notes)


def _of_target(
    found: Mapping[str, Ladder], concepts: Sequence[str], t: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what a row is called, and its numbers: first the concepts, then every model."""
    first, below = next(iter(found.values())), 0.0
    for i, rung in enumerate(concepts):
        r2 = float(np.median(first.r2[i, :, t]))
        own = {"model": "", "rung": rung, "columns": first.columns[i]}
        scores = {"r2": r2, "r2_added": r2 - below, "r2_geom_beyond": dict.fromkeys(concepts)}
        yield f"{i + 1} {rung}", {**own, **scores}
        below = r2
    for model, ladder in found.items():
        r2 = float(np.median(ladder.r2[-1, :, t]))
        beyond = np.median(ladder.r2_geom[..., t], axis=1).tolist()
        own = {"model": model, "rung": ladder.rungs[-1], "columns": ladder.columns[-1]}
        scores = {"r2": r2, "r2_added": r2 - below}
        yield model, {**own, **scores, "r2_geom_beyond": dict(zip(concepts, beyond, strict=True))}
