"""The style of every figure: fonts, lines, colours, markers, and marks that leave the axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Literal, ParamSpec, TypeVar

import numpy as np
from jaxtyping import Float
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.text import Annotation

from cpdjax.reports.text import score_text

P = ParamSpec("P")
R = TypeVar("R")

#: Hues that people with red-green blindness tell apart: those of Okabe and Ito, Color Universal
#: Design (2008), less yellow, and six of P. Tol, Colour Schemes (SRON, 2021), which are darker.
PALETTE = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"),
    *("#332288", "#882255", "#999933", "#661100", "#777777", "#000000"),
)
#: Shapes. Their number and that of the hues have no common divisor, so that pairs of both differ.
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
#: What marks no model: zero, whiskers and notes; what lies behind.
INK, GREY, SHADE = "#222222", "#777777", "#ECECEC"
SMALL, TINY = 7.0, 6.0
#: Inches from row to row, and characters of a row's label.
ROW, LABEL = 0.19, 40
DPI = 150
#: Axes of R² end here, since the score of a failed probe has no lower bound.
FLOOR = -0.2

_RC: dict[Any, Any] = {
    **{"font.size": 8.5, "axes.titlesize": 9, "axes.labelsize": 8.5, "legend.fontsize": 7.5},
    **{"xtick.labelsize": 7.5, "ytick.labelsize": 7.5, "legend.title_fontsize": 7.5},
    **{"axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.6},
    **{"xtick.major.width": 0.6, "ytick.major.width": 0.6, "xtick.major.size": 3},
    **{"ytick.major.size": 3, "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": GREY},
    **{"xtick.color": GREY, "ytick.color": GREY, "xtick.labelcolor": INK},
    **{"ytick.labelcolor": INK, "lines.linewidth": 1.2, "lines.markersize": 4},
    **{"legend.frameon": False, "legend.borderaxespad": 0.3, "legend.handlelength": 1.4},
    **{"figure.dpi": DPI},
}


def styled(plot: Callable[P, R]) -> Callable[P, R]:
    """Return a function that plots in this style and leaves the caller's settings as they were."""

    @wraps(plot)
    def plot_in_style(*args: P.args, **options: P.kwargs) -> R:
        with rc_context(_RC):
            return plot(*args, **options)

    return plot_in_style


def colours(models: Sequence[str]) -> dict[str, str]:
    """Return the hue of every model of a table, in its order; after twelve they come again.

    >>> colours(["so3lr", "ani-2x-aev"])
    {'so3lr': '#0072B2', 'ani-2x-aev': '#D55E00'}
    """
    return {model: PALETTE[i % len(PALETTE)] for i, model in enumerate(models)}


def shades(colour: str, count: int) -> list[str]:
    """Return shades of one hue, from light to the hue itself, for the layers of a model.

    >>> shades("#000000", 2)
    ['#8c8c8c', '#000000']
    """
    own = np.asarray(to_rgb(colour))
    lighter = np.linspace(0.55, 0, count) if count > 1 else np.zeros(count)
    return [to_hex(tuple(own + (1 - own) * light)) for light in lighter]


def markers(names: Sequence[str]) -> dict[str, str]:
    """Return the shape of every layer, irrep or model.

    >>> markers(["embedding", "readout"])
    {'embedding': 'o', 'readout': 's'}
    """
    return {name: MARKERS[i % len(MARKERS)] for i, name in enumerate(names)}


def mark_leaving(
    axes: Axes,
    x: Sequence[float] | Float[np.ndarray, " point"],
    y: Sequence[float] | Float[np.ndarray, " point"],
    colour: str,
    *,
    along: Literal["x", "y"],
    above: bool = False,
) -> None:
    """Mark every point beyond the limits of one axis: an arrow at the border, and its number.

    The limits must be final. Numbers at one place stand above each other; with `above` they stand
    beside each other, above their row, so that they hide no dot on it.
    """
    xs, ys = np.broadcast_arrays(np.asarray(x, float), np.asarray(y, float))
    values, places = (xs, ys) if along == "x" else (ys, xs)
    low, high = sorted(axes.get_xlim() if along == "x" else axes.get_ylim())
    for i in np.flatnonzero((values < low) | (values > high)):
        is_low = values[i] < low
        border = low if is_low else high
        at = (border, places[i]) if along == "x" else (places[i], border)
        shape = {"x": "><", "y": "^v"}[along][int(is_low)]
        axes.plot(*at, shape, color=colour, markersize=4.5, clip_on=False, zorder=4)
        _number(axes, score_text(values[i]), at, colour, along, 1 if is_low else -1, above)


def _number(
    axes: Axes,
    text: str,
    at: tuple[float, float],
    colour: str,
    along: str,
    inward: int,
    above: bool,
) -> None:
    """Print a number inside the border, beyond those that stand close by already."""
    axes.get_xlim()  # brings the transformations up to date
    here = axes.transData.transform(at)
    place = f"leaves along {along} by {inward}"
    notes = [note for note in axes.texts if isinstance(note, Annotation)]
    others = [axes.transData.transform(note.xy) for note in notes if note.get_gid() == place]
    width = 30.0 if along == "y" else 8.0 if above else 5.0  # points of a number along its border
    near = width * DPI / 72
    before = sum(np.linalg.norm(other - here) < near for other in others)
    if along == "x":
        offset, align, vertical = (7.0 * inward, 7.0 * before), inward, "center"
        if above:
            offset, vertical = ((3.0 + 18.0 * before) * inward, 1.5), "bottom"
    else:
        across, _ = axes.transAxes.inverted().transform(here)
        align, vertical = (1 if across < 0.5 else -1), "bottom" if inward > 0 else "top"
        offset = 3.0 * align, inward * (5.0 + 7.0 * before)
    axes.annotate(
        text, at, offset, textcoords="offset points", color=colour, fontsize=TINY, gid=place,
        ha="left" if align > 0 else "right", va=vertical,
        zorder=2.5 if above else 5,  # below dots, above whiskers
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.2, "alpha": 0.85},
    )  # fmt: skip
