"""The matrix of likeness: all channels against each other, ordered by clustering."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Bool
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import offset_copy

from cpdjax.likeness.measures import OF_PAIRS
from cpdjax.reports.figures import panels
from cpdjax.reports.spaces import values
from cpdjax.reports.spaces.cells import BLANK, colour_bar, cover_diagonal, draw
from cpdjax.reports.spaces.distances import Square, clustered, distance_text, distances
from cpdjax.reports.style import SMALL, TINY, colours, styled
from cpdjax.reports.text import for_figure
from cpdjax.uncertainty.multiplicity import LEVEL

#: What the figure holds at most; inches that the cells of a side take, and a cell.
MOST_CHANNELS, _SIDE, _CELL = 90, (2.6, 7.5), (0.115, 0.42)
MOST_LARGE = 45
"""Rows with labels of usual size."""
_MODEL, _LAYER, _LETTER = 30, 22, 0.058  # characters of a name, and inches of one
_BAR: Any = {"linewidth": 4, "solid_capstyle": "butt", "clip_on": False}


@styled
def plot_matrix(table: xr.Dataset, measure: str = "cka_debiased") -> Figure:
    """Plot a measure of all pairs of channels, ordered by clustering, so that blocks are families.

    Above the diagonal it is raw, below it with composition removed. A directed measure has two
    panels, from rows to columns. Results without a projection fill the whole matrix.

    Args:
        table: what `cpdjax.spaces` returns.
        measure: a key of `likeness.measures.OF_PAIRS`.

    Raises:
        InputError: the dataset compares no spaces, or does not hold the measure.
        UnknownNameError: there is no such measure.
    """
    table, note = values.shown(values.checked(table, measure), MOST_CHANNELS)
    order = clustered(distances(table, measure, values.removed(table)))
    parts, labels, count = _parts(table, measure, order), _labels(table, order), len(order)
    cell = max(min(max(_SIDE[1] / count, _CELL[0]), _CELL[1]), _SIDE[0] / count)
    room = 0.3 + _LETTER * max(len(text) for text, _, _ in labels)
    figure, axes = panels(
        len(parts), across=2, size=(cell * count + 0.25, cell * count + 0.2),
        margin=(room, room + 0.6), sharey=True, title=f"How alike: {OF_PAIRS[measure].label}",
        text=_caption(table, measure, parts, note),
    )  # fmt: skip
    for panel, part in zip(axes, parts, strict=True):
        draw(panel, part.cells, measure, cell, chance=part.chance)
        cover_diagonal(panel, count)
        panel.text(1.01, 0.5, part.above, rotation=270, va="center", transform=panel.transAxes)
        panel.set_xlabel(part.below)
        _label(figure, panel, labels, has_rows=panel is axes[0])
    colour_bar(figure, axes, measure, np.stack([part.cells for part in parts]))
    return figure


class _Part(NamedTuple):
    """Hold what a panel shows: its cells, what chance alone may be, and words at two sides."""

    cells: Square
    chance: Bool[np.ndarray, "channel channel"]
    above: str
    below: str


def _parts(table: xr.Dataset, measure: str, order: Sequence[int]) -> list[_Part]:
    """Return a panel for each projection, or of a symmetric measure one whose halves are two."""
    places = np.ix_(order, order)
    found = []
    for projection, words in values.sides(table).items():
        cells = values.matrix(table, measure, projection)[places]
        np.fill_diagonal(cells, np.nan)
        p = values.matrix(table, measure, projection, "_p_adjusted")[places]
        # With few permutations no p-value is small: then a large one says nothing.
        chance = (p > LEVEL) & (not values.too_few(table))
        found.append(_Part(cells, chance, "", words))
    if OF_PAIRS[measure].directed or len(found) == 1:
        return found
    raw, less = found[0], found[-1]
    upper = np.triu(np.ones_like(raw.cells, bool))
    cells, chance = (np.where(upper, a, b) for a, b in zip(raw[:2], less[:2], strict=True))
    return [_Part(cells, chance, raw.below, less.below)]


def _labels(table: xr.Dataset, order: Sequence[int]) -> list[tuple[str, str, bool]]:
    """Return text and hue of every row, and whether a run of one model begins: there it has it."""
    models = [model for model, _, _ in values.channels(table)]
    layers, hues = values.layer_names(table), colours(values.models(table))
    found = []
    for before, i in zip(["", *(models[i] for i in order)], order, strict=False):
        begins = before != models[i]
        name = f"{for_figure(values.named(models[i]), _MODEL)}   " if begins else ""
        found.append((name + for_figure(layers[i], _LAYER), hues[models[i]], begins))
    return found


def _label(
    figure: Figure, panel: Axes, labels: Sequence[tuple[str, str, bool]], *, has_rows: bool
) -> None:
    """Label columns, and rows where there is room; a bar of its hue spans each run of a model."""
    count = len(labels)
    texts, size = [text for text, _, _ in labels], SMALL if count < MOST_LARGE else TINY
    panel.set_xticks(range(count), texts, rotation=90, fontsize=size)
    panel.set_yticks(range(count), texts, fontsize=size)
    panel.tick_params(pad=7, labelleft=has_rows)
    panel.autoscale(False)
    above = offset_copy(panel.get_xaxis_transform(), figure, 0, 4, "points")
    beside = offset_copy(panel.get_yaxis_transform(), figure, -4, 0, "points")
    starts = [i for i, (_, _, begins) in enumerate(labels) if begins]
    for first, last in pairwise([*starts, count]):
        run, looks = (first - 0.42, last - 0.58), {"color": labels[first][1], **_BAR}
        panel.plot(run, (1, 1), transform=above, **looks)
        panel.plot((0, 0), run, transform=beside, **looks)
    for axis in (panel.get_xticklabels(), panel.get_yticklabels() if has_rows else []):
        for label, (_, hue, _) in zip(axis, labels, strict=False):
            label.set_color(hue)


def _caption(table: xr.Dataset, measure: str, parts: Sequence[_Part], note: str) -> str:
    """Say what is where, how it is ordered, and what the marks mean."""
    what = values.sides(table)[values.removed(table)]
    both = f"above the diagonal {parts[0].above}, below {what}" if parts[0].above else what
    blank = any(np.isnan(part.cells[~np.eye(len(part.cells), dtype=bool)]).any() for part in parts)
    return values.caption(
        values.molecules_text(table),
        "from rows to columns" if OF_PAIRS[measure].directed else both,
        f"ordered by clustering of {distance_text(measure)}, {what}",
        BLANK if blank else "",
        f"dots: permuted molecules are as alike (adjusted p > {LEVEL:g})"
        if any(part.chance.any() for part in parts) else "",
        values.too_few(table), values.controls_text(table), note,
    )  # fmt: skip
