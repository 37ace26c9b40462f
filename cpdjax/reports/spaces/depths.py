"""Depth against depth: every layer of one model against every layer of another."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from cpdjax.errors import UnknownNameError
from cpdjax.likeness.measures import OF_PAIRS
from cpdjax.models.naming import run_of
from cpdjax.reports.figures import panel_title, panels
from cpdjax.reports.spaces import values
from cpdjax.reports.spaces.cells import BLANK, colour_bar, draw
from cpdjax.reports.spaces.distances import distances
from cpdjax.reports.style import colours, styled
from cpdjax.reports.text import for_figure

_CELL, _LAYER, _LETTER, _NAME = 0.42, 22, 0.062, 26


@styled
def plot_depths(
    table: xr.Dataset,
    model_a: str,
    model_b: str,
    measure: str = "cka_debiased",
    irrep: str | None = None,
) -> Figure:
    """Plot how alike the layers of two models are, raw and with composition removed.

    Rows are the layers of `model_a` from first to last, columns those of `model_b`.

    Args:
        table: what `cpdjax.spaces` returns.
        model_a, model_b: two models of the results; a model against itself shows how it changes.
        measure: a key of `likeness.measures.OF_PAIRS`; a directed one goes from rows to columns.
        irrep: the irrep of both; by default all scalars, or else the first irrep of each.

    Raises:
        InputError: the dataset compares no spaces, or does not hold the measure.
        UnknownNameError: there is no such measure, model or irrep.
    """
    values.checked(table, measure)
    rows, columns = (_path(table, model, irrep) for model in (model_a, model_b))
    layers = [for_figure(name, _LAYER) for name in values.layer_names(table)]
    sides, longest = values.sides(table), max(len(layers[i]) for i in (*rows, *columns))
    room, width = 0.5 + _LETTER * longest, max(_CELL * len(columns), 2.0) + 0.25
    found = [values.matrix(table, measure, side)[np.ix_(rows, columns)] for side in sides]
    figure, axes = panels(
        len(sides), across=2, size=(width, _CELL * len(rows) + 0.3), margin=(room, room + 0.75),
        title=f"By depth: {OF_PAIRS[measure].label}", sharey=True,
        text=_caption(table, measure, is_blank=bool(np.isnan(found).any())),
    )  # fmt: skip
    hues = colours(values.models(table))
    name_a, name_b = (for_figure(values.named(model), _NAME) for model in (model_a, model_b))
    axes[0].set_ylabel(name_a, color=hues[model_a])
    for panel, cells, words in zip(axes, found, sides.values(), strict=True):
        draw(panel, cells, measure, _CELL)
        panel.set_xticks(range(len(columns)), [layers[i] for i in columns], rotation=90)
        panel.set_yticks(range(len(rows)), [layers[i] for i in rows])
        panel.set_xlabel(name_b, color=hues[model_b])
        panel_title(panel, words, width)
    colour_bar(figure, axes, measure, np.stack(found))
    return figure


def _caption(table: xr.Dataset, measure: str, *, is_blank: bool) -> str:
    """Say of which molecules, in which direction, and what is missing."""
    way = "from rows to columns" if OF_PAIRS[measure].directed else ""
    return values.caption(values.molecules_text(table), way, BLANK if is_blank else "")


def pairs(table: xr.Dataset, measure: str, most: int) -> list[tuple[str, str]]:
    """Return the pairs of models that stay most alike at some depth, the most alike first.

    They are pairs of two layers or more each. Runs of one model are no pair, and controls are none
    where other pairs are found.
    """
    own = {key: path for key, path in values.main_paths(table).items() if len(path) > 1}
    far = distances(table, measure, values.removed(table))
    found: dict[tuple[str, str], tuple[bool, float]] = {}
    for (a, rows), (b, columns) in combinations([(k[0], path) for k, path in own.items()], 2):
        cells = far[np.ix_(rows, columns)]
        if run_of(a)[0] != run_of(b)[0] and np.isfinite(cells).any():
            rank = values.is_control(a) or values.is_control(b), float(np.nanmin(cells))
            found[a, b] = min(rank, found.get((a, b), rank))
    return sorted(found, key=found.__getitem__)[:most]


def _path(table: xr.Dataset, model: str, irrep: str | None) -> list[int]:
    """Return the channels of a model along its path, of one irrep."""
    if model not in values.models(table):
        raise UnknownNameError("model", model, values.models(table))
    found = {key[1]: path for key, path in values.main_paths(table).items() if key[0] == model}
    if irrep is None:
        return next(iter(found.values()))
    every = {key[1]: path for key, path in values.paths(table).items() if key[0] == model}
    if irrep not in every:
        raise UnknownNameError(f"irrep of {model}", irrep, every)
    return every[irrep]
