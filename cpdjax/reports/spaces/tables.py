"""The tables of a comparison of spaces: all pairs of channels, and what each channel is like."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
import xarray as xr

from cpdjax.likeness.measures import OF_CHANNELS, OF_PAIRS
from cpdjax.reports.spaces import values
from cpdjax.reports.spaces.distances import Square, distances
from cpdjax.reports.text import p_text, score_text

Pairs = Sequence[tuple[int, int]]
NONE = "–"
"""Stands for a number that does not exist."""


class Table(NamedTuple):
    """Hold the headings and the rows of a table as text."""

    heads: list[str]
    rows: list[list[str]]


class _Column(NamedTuple):
    """Hold one measure in one direction of all pairs."""

    head: str
    value: Square
    low: Square
    high: Square
    p: Square

    def cell(self, pair: tuple[int, int]) -> str:
        """Return the measure of a pair, and its interval if there is one."""
        value, low, high = (float(part[pair]) for part in (self.value, self.low, self.high))
        if not np.isfinite(value):
            return NONE
        interval = f" ({score_text(low)}, {score_text(high)})" if np.isfinite(low) else ""
        return score_text(value) + interval


def comparable_pairs(table: xr.Dataset, measure: str) -> Pairs:
    """Return the pairs of channels that can be compared, those that stay most alike first."""
    raw, *less = (distances(table, measure, side) for side in values.sides(table))
    far = np.nan_to_num(less[-1] if less else raw, nan=np.inf)
    found = [(int(a), int(b)) for a, b in np.argwhere(np.triu(np.isfinite(raw), 1))]
    return sorted(found, key=lambda pair: float(far[pair]))


def of_pairs(table: xr.Dataset, pairs: Pairs) -> Table:
    """Return every measure of some pairs, in both directions where these are two numbers."""
    columns = _columns(table)
    rows = [[column.cell(pair) for column in columns] for pair in pairs]
    return _of_pairs(table, pairs, columns, rows)


def of_chance(table: xr.Dataset, pairs: Pairs) -> Table | None:
    """Return the adjusted p-values of some pairs; None where results hold none."""
    columns = [column for column in _columns(table) if np.isfinite(column.p).any()]
    rows = [[_told(p_text, column.p[pair]) for column in columns] for pair in pairs]
    return _of_pairs(table, pairs, columns, rows) if columns else None


def of_channels(table: xr.Dataset) -> Table:
    """Return what is measured of every channel by itself."""
    found = {
        f"{known.label}, {words}": table[name].sel(projection=side).to_numpy()
        for (name, known), (side, words) in product(
            OF_CHANNELS.items(), values.sides(table).items()
        )
        if name in table
    }
    counts = table.n_features.to_numpy()
    rows = [
        [*channel, str(int(counts[i])), *(_told("{:.1f}".format, own[i]) for own in found.values())]
        for i, channel in enumerate(values.channels(table))
    ]
    return Table(["model", "layer", "irrep", "features", *found], rows)


def _columns(table: xr.Dataset) -> list[_Column]:
    """Return a column for each measure, projection and direction."""
    found = []
    for measure, (side, words) in product(values.measures(table), values.sides(table).items()):
        parts = ("", "_low", "_high", "_p_adjusted")
        own = [values.matrix(table, measure, side, part) for part in parts]
        label = OF_PAIRS[measure].label
        found.append(_Column(f"{label}, {words}", *own))
        if OF_PAIRS[measure].directed:
            back = label.replace("a → b", "b → a")
            found.append(_Column(f"{back}, {words}", *(part.T for part in own)))
    return found


def _of_pairs(
    table: xr.Dataset, pairs: Pairs, columns: Sequence[_Column], rows: list[list[str]]
) -> Table:
    """Return a table whose rows begin with the names of two channels."""
    names = [" / ".join(channel) for channel in values.channels(table)]
    named = [[names[a], names[b], *row] for (a, b), row in zip(pairs, rows, strict=True)]
    return Table(["a", "b", *(column.head for column in columns)], named)


def _told(text: Callable[[float], str], value: float) -> str:
    return text(value) if np.isfinite(value) else NONE
