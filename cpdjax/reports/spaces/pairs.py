"""What stays alike once composition is gone: the last layers of all pairs of models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cpdjax.errors import InputError
from cpdjax.likeness.measures import OF_PAIRS
from cpdjax.reports.figures import panels, plot_intervals, shared_legend
from cpdjax.reports.spaces import values
from cpdjax.reports.style import FLOOR, GREY, INK, PALETTE, SHADE, styled
from cpdjax.reports.text import for_figure, left_out_text

MOST_PAIRS = 40
_NAME, _LETTER, _ROW = 26, 0.066, 0.23
#: Hue and shape of the raw side and of the one without composition.
_LOOKS = ((GREY, "D"), (PALETTE[0], "o"))


class Pair(NamedTuple):
    """Hold two channels by number, from a to b."""

    a: int
    b: int


def last_pairs(table: xr.Dataset, measure: str) -> list[Pair]:
    """Return the pairs of last layers of different models, those that stay most alike first.

    A directed measure has every pair twice, once in each direction. Pairs of which composition
    leaves nothing come last.
    """
    own, last = values.channels(table), values.last_channels(table)
    raw, *less = (values.matrix(table, measure, side) for side in values.sides(table))
    likeness = less[-1] if less else raw
    directed = OF_PAIRS[measure].directed
    found = [
        Pair(a, b)
        for i, a in enumerate(last)
        for j, b in enumerate(last)
        if (i < j or directed) and own[a][0] != own[b][0] and np.isfinite(raw[a, b])
    ]
    sign = -1 if OF_PAIRS[measure].more_alike else 1
    return sorted(found, key=lambda pair: np.nan_to_num(sign * likeness[pair], nan=np.inf))


@styled
def plot_pairs(table: xr.Dataset, measure: str = "cka_debiased") -> Figure:
    """Plot how alike the last layers of models are, raw beside without composition.

    Whiskers are 95 % intervals of the bootstrap, and grey strokes are what permuted molecules
    reach, where the results hold them.

    Args:
        table: what `cpdjax.spaces` returns.
        measure: a key of `likeness.measures.OF_PAIRS`.

    Raises:
        InputError: the dataset compares no spaces, does not hold the measure, or no two models of
            it can be compared.
        UnknownNameError: there is no such measure.
    """
    every = last_pairs(values.checked(table, measure), measure)
    if not every:
        raise InputError(
            "no pair to show: it takes two models with a channel each that can be compared"
        )
    pairs, names = every[:MOST_PAIRS], _names(table, measure, every[:MOST_PAIRS])
    sides, known = values.sides(table), OF_PAIRS[measure]
    figure, (panel,) = panels(
        1, size=(4.2, _ROW * len(pairs) + 0.35),
        margin=(0.2 + _LETTER * max(map(len, names)), 0.75),
        title=f"{'What stays' if len(sides) > 1 else 'How'} alike: {known.label} of last layers",
        text=_caption(table, measure, len(every) - len(pairs)), xlabel=known.label,
    )  # fmt: skip
    scores = {side: _scores(table, measure, side, pairs) for side in sides}
    panel.set_ylim(len(pairs) - 0.4, -0.6)
    _limit(panel, measure, np.stack(list(scores.values())))
    rows = np.arange(len(pairs), dtype=float)
    looks = _LOOKS if len(sides) > 1 else _LOOKS[1:]
    for k, ((side, words), (hue, shape)) in enumerate(zip(sides.items(), looks, strict=False)):
        places = rows + (k - (len(sides) - 1) / 2) * 0.3
        plot_intervals(panel, places, scores[side][:3], [hue] * len(rows), shape, words)
        panel.plot(
            scores[side][3], places, "|", color=hue, markersize=6, zorder=2,
            label="" if np.isnan(scores[side][3]).all() else f"permuted, {words}",
        )  # fmt: skip
    panel.set_yticks(rows, names)
    panel.tick_params(axis="y", length=0)
    panel.grid(axis="y", color=SHADE, linewidth=0.6)
    shared_legend(figure, panel)
    return figure


def _scores(
    table: xr.Dataset, measure: str, projection: str, pairs: Sequence[Pair]
) -> Float[np.ndarray, "4 pair"]:
    """Return likeness, the ends of its interval, and what permuted molecules reach."""
    a, b = np.transpose(pairs)
    parts = ("", "_low", "_high", "_null")
    return np.stack([values.matrix(table, measure, projection, part)[a, b] for part in parts])


def _limit(panel: Axes, measure: str, scores: Float[np.ndarray, "side 4 pair"]) -> None:
    """Let the axis begin at zero or a little below, and end where nothing can be larger."""
    most = np.sqrt(2) if measure == "procrustes" else 1.0
    most = most if OF_PAIRS[measure].more_alike else max(most, float(np.nanmax(scores)))
    panel.set_xlim(max(FLOOR, min(-0.02, float(np.nanmin(scores)) - 0.02)), most + 0.02)
    panel.axvline(0, color=INK, linewidth=0.6, zorder=1)


def _names(table: xr.Dataset, measure: str, pairs: Sequence[Pair]) -> list[str]:
    """Return the names of both models of each pair, with the irrep where they have several."""
    own = values.channels(table)
    has_irreps = {irrep for _, _, irrep in own} - set(values.SCALARS)
    arrow = " → " if OF_PAIRS[measure].directed else " – "
    return [
        arrow.join(for_figure(values.named(own[i][0]), _NAME) for i in pair)
        + (f", {own[pair.a][2]}" if has_irreps else "")
        for pair in pairs
    ]


def _caption(table: xr.Dataset, measure: str, further: int) -> str:
    """Say what dots and whiskers are, and which pairs are not shown."""
    order = "most alike first" if len(values.sides(table)) == 1 else (
        f"most alike first, {values.sides(table)[values.removed(table)]}"
    )  # fmt: skip
    return values.caption(
        values.molecules_text(table),
        "last interaction layer of each model",
        "95 % intervals of the bootstrap" if measure + "_low" in table else "",
        order,
        values.controls_text(table),
        left_out_text(pairs=further),
    )
