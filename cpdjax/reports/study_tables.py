"""Tables of the paper's findings, and of what to use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import xarray as xr

from cpdjax.reports.scores import targets_of
from cpdjax.reports.sheet import Column, Sheet
from cpdjax.reports.symbols import symbol_text, target_text
from cpdjax.studies.findings import of_paper
from cpdjax.studies.recommendation import Choice, advice, certain, recommend, trained_on_it
from cpdjax.studies.reproduction import Reproduction


def findings_table(found: Reproduction) -> Sheet:
    """Return a table with a row for every finding of the paper."""
    columns = [Column("finding", "group"), Column("paper", "words"), Column("ours", "words")]
    own = of_paper(found.findings)
    notes = [
        f"The report has {len(found.findings) - len(own)} further lines that a referee asks for, "
        "the rule behind each verdict, and the controls."
    ]
    return Sheet(
        "findings",
        "The paper's findings, and ours",
        [*columns, Column("verdict", "name")],
        [(line.name, line.paper, line.ours, line.verdict) for line in own],
        [asdict(line) for line in own],
        notes if len(found.findings) > len(own) else [],
    )


def recommendation_table(
    tables: Sequence[xr.Dataset], targets: Sequence[str], most: int, with_trained: bool = False
) -> Sheet:
    """Return a table of the channels to use for each target, best first, and what to take.

    Channels whose interval does not lie above zero are counted in a note and shown in no row, and
    so are models that were trained on the target, unless they are asked for.
    """
    columns = [Column("target", "group")]
    columns += [Column(name, "name") for name in ("model", "layer", "irrep", "pool")]
    columns += [Column(name) for name in ("features", "R²_geom (95 %)")]
    rows, records, notes = [], [], []
    shown: list[Choice] = []
    units = dict(targets_of(tables[0]))
    for target in targets:
        ranked = recommend(tables, target, None, with_trained=with_trained)
        chosen = certain(ranked)
        shown += chosen[:most]
        rows += [[target_text(target, units[target]), *_cells(c)] for c in chosen[:most]]
        records += [_record(choice, target) for choice in chosen[:most]]
        symbol = symbol_text(target, units[target])
        notes.append(advice(chosen[:most] or ranked[:1], symbol) if ranked else "")
        if chosen and len(chosen) < len(ranked):
            notes[-1] += (
                f" {len(ranked) - len(chosen)} of {len(ranked)} channels are left out: their "
                "intervals are not above zero."
            )
        trained = sorted(set().union(*(trained_on_it(table, target) for table in tables)))
        if trained and not with_trained:
            notes[-1] += (
                f" Trained on {symbol}, and so not ranked: {', '.join(trained)} (--with-trained "
                "ranks them)."
            )
    title = "Best channels by the lower end of the interval"
    if np.isfinite([choice.milliseconds for choice in shown]).any():
        title += "; ms: cost per molecule"
        columns.append(Column("ms"))
    rows = [row[: len(columns)] for row in rows]
    return Sheet("recommendation", title, columns, rows, records, notes)


def _cells(choice: Choice) -> list[str]:
    score = choice.r2_geom
    *place, features, _, cost = choice.cells
    return [*place, features, f"{score.value:.2f} ({score.low:.2f}, {score.high:.2f})", cost]


def _record(choice: Choice, target: str) -> dict[str, object]:
    names = ("model", "layer", "irrep", "pool", "features", "milliseconds", "trained")
    score = choice.r2_geom
    return {
        "target": target,
        **{name: getattr(choice, name) for name in names},
        **{"r2_geom": score.value, "low": score.low, "high": score.high},
    }
