"""The scores of the ladder, as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    "R²: median over folds; of a model, with all rungs of concepts. Added: less the R² of the last "
    "row of concepts above. Beyond: R²_geom when all up to that rung is taken out of the features."
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
    first = next(iter(found.values()))
    concepts = first.rungs[:-1]
    columns = [Column("target", "group"), Column("rung or model", "name"), Column("columns")]
    columns += [Column("R²"), Column("added"), *(Column(f"beyond {rung}") for rung in concepts)]
    rows, records = [], []
    for t, (target, unit) in enumerate(zip(targets, units, strict=True)):
        whole = np.median(first.r2[:-1, :, t], axis=1)
        below = [0.0, *whole]
        parts = [
            ("", rung, first.columns[i], whole[i], below[i]) for i, rung in enumerate(concepts)
        ]
        for model, ladder in found.items():
            r2 = float(np.median(ladder.r2[-1, :, t]))
            parts.append((model, first.rungs[-1], ladder.columns[-1], r2, whole[-1]))
        for model, rung, width, r2, less in parts:
            beyond = np.median(found[model].r2_geom[..., t], axis=1) if model else []
            record: dict[str, Any] = {"target": target, "unit": unit, "model": model, "rung": rung}
            record |= {"columns": width, "r2": r2, "r2_added": r2 - less}
            record |= {"r2_geom_beyond": dict(zip(concepts, map(float, beyond), strict=False))}
            records.append(record)
            cells = [target_text(target, unit), model or rung, f"{width:,}", f"{r2:.3f}"]
            cells.append(f"{round(r2, 3) - round(less, 3):+.3f}")
            rows.append(
                [*cells, *(f"{x:.3f}" for x in beyond), *[""] * (len(concepts) if not model else 0)]
            )
    notes = (_OF_MODELS, *controls_note(found))
    return Sheet("ladder", title, columns, rows, records, notes)
