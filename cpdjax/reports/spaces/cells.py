"""Cells of likeness: their hues and numbers, those that do not exist, and their scale."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cpdjax.likeness.measures import OF_PAIRS
from cpdjax.reports.style import GREY, INK, PALETTE, SHADE, TINY
from cpdjax.reports.text import score_text

_ALIKE = LinearSegmentedColormap.from_list("alike", ["#FFFFFF", PALETTE[5], PALETTE[0], PALETTE[6]])
_DARK = 0.45  # from this share of the darkest hue on, numbers are white
_LUMINANCE = np.array([0.3, 0.6, 0.1])
_NUMBERED = 0.3  # inches of a cell that has room for its number
BLANK = "hatched: no comparison (irreps that turn in other ways, or nothing is left of a channel)"


def scale(measure: str) -> ScalarMappable:
    """Return the hues of a measure, in which dark is alike."""
    known = OF_PAIRS[measure]
    most = np.sqrt(2) if measure == "procrustes" else 1.0
    return ScalarMappable(Normalize(0, most), _ALIKE if known.more_alike else _ALIKE.reversed())


def draw(
    panel: Axes,
    values: Float[np.ndarray, "row column"],
    measure: str,
    cell: float,
    *,
    chance: Bool[np.ndarray, "row column"] | None = None,
) -> None:
    """Draw a cell for every value, of this size in inches, with numbers where there is room.

    Args:
        panel: the axes.
        values: NaN where two channels cannot be compared, which is hatched.
        measure: the measure.
        cell: the size of a cell.
        chance: cells that have a dot, since permuted molecules are as alike.
    """
    hues = scale(measure)
    panel.imshow(values, cmap=hues.cmap, norm=hues.norm, aspect="auto", interpolation="nearest")
    panel.patch.set(hatch="//////", edgecolor=SHADE, facecolor="white", linewidth=0)
    panel.spines[:].set_visible(False)
    panel.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    for (y, x), value in np.ndenumerate(values if cell >= _NUMBERED else values[:0]):
        if np.isfinite(value):
            look = {"fontsize": TINY, "color": _ink(hues, value)}
            panel.text(x, y, score_text(value), ha="center", va="center", **look)
    if chance is not None:
        below, size = (0.32, 4.0) if cell >= _NUMBERED else (0.0, 2.5)
        for y, x in np.argwhere(chance & np.isfinite(values)):
            look = {"markersize": size, "markeredgewidth": 0, "color": _ink(hues, values[y, x])}
            panel.plot(x, y + below, ".", **look)


def _ink(hues: ScalarMappable, value: float) -> str:
    """Return the colour of what stands on the hue of a value."""
    return "white" if hues.to_rgba(value)[:3] @ _LUMINANCE < 1 - _DARK else INK


def cover_diagonal(panel: Axes, count: int) -> None:
    """Cover the likeness of channels with themselves, which says nothing."""
    for i in range(count):
        panel.add_patch(Rectangle((i - 0.5, i - 0.5), 1, 1, facecolor=SHADE, linewidth=0))


def colour_bar(
    figure: Figure, axes: Sequence[Axes], measure: str, values: Float[np.ndarray, "*value"]
) -> None:
    """Add the scale below the panels; an arrow at its end says that values lie beyond it."""
    below = bool((values[np.isfinite(values)] < 0).any())
    bar = figure.colorbar(
        scale(measure), ax=list(axes), location="bottom", aspect=25, pad=0.02, fraction=0.05,
        shrink=min(1.0, 3.0 / axes[0].get_position().width / figure.get_figwidth()),
        extend="min" if below else "neither",
    )  # fmt: skip
    bar.outline.set(edgecolor=GREY, linewidth=0.5)
    bar.set_label(f"{OF_PAIRS[measure].label} (dark: alike)")
