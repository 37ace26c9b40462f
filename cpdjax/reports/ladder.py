"""The scores of the ladder, as a table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.table import Table

from cpdjax.probes.ladder import Ladder
from cpdjax.reports.text import for_terminal


def text_table(found: Ladder, targets: Sequence[str], title: str = "") -> Table:
    """Return a table with a row for every target and rung; scores are medians over folds."""
    shown = Table(
        title=for_terminal(title) if title else None, caption="medians over folds", pad_edge=False
    )
    shown.add_column("target", no_wrap=True)
    shown.add_column("rung", no_wrap=True)
    for name in ("columns", "R²", "R² added", "R²_geom beyond"):
        shown.add_column(name, justify="right", no_wrap=True)
    r2, added = np.median(found.r2, axis=1), np.median(found.added, axis=1)
    beyond = np.median(found.r2_geom, axis=1)
    for t, target in enumerate(targets):
        for i, rung in enumerate(found.rungs):
            last = i == len(beyond)
            scores = [f"{r2[i, t]:.3f}", f"{added[i, t]:+.3f}"]
            scores.append("" if last else f"{beyond[i, t]:.3f}")
            of_target = for_terminal("" if i else target)
            shown.add_row(
                of_target, for_terminal(rung), str(found.columns[i]), *scores, end_section=last
            )
    return shown
