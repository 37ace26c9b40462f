"""The scores of the ladder, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cpdjax.probes.ladder import Ladder
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
