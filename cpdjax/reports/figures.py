"""Figures: panels of one size, headings, legends, ticks, and the files they are written to."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import NullLocator

from cpdjax.files import write_figure
from cpdjax.reports.style import GREY, LABEL, SHADE, SMALL, TINY, mark_leaving
from cpdjax.reports.text import for_figure

#: About how many characters an inch holds: of a title, of the text below it, of a legend.
_TITLE, _TEXT, _LEGEND = 12, 17, 15

#: How many pixels a notebook's figure has for each that is asked for, on screens that show more.
_FINE = 2


class ShownFigure(Figure):
    """Show itself in a notebook, where a figure that pyplot does not know would be a text."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """Return the figure in fine resolution, and the size at which it is shown."""
        with io.BytesIO() as file:
            self.savefig(file, format="png", dpi=_FINE * self.dpi)
            width, height = (int(length * self.dpi) for length in self.get_size_inches())
            return file.getvalue(), {"width": width, "height": height}


def write(figures: Mapping[str, Figure], folder: str | Path) -> list[Path]:
    """Write every figure into a folder, under its file name; return the paths."""
    return [write_figure(figure, Path(folder) / name) for name, figure in figures.items()]


def panels(
    count: int,
    *,
    across: int = 1,
    size: tuple[float, float],
    margin: tuple[float, float],
    beside: float = 0.0,
    title: str = "",
    text: str = "",
    xlabel: str = "",
    ylabel: str = "",
    **shared: Any,
) -> tuple[Figure, Sequence[Axes]]:
    """Make a figure of `count` panels.

    Args:
        count: the number of panels.
        across: the largest number of panels in a row; rows are made equally long.
        size, margin: width and height in inches, of each panel and of all that is around them.
        beside: how many inches of the margin a legend takes at the right, where no text goes.
        title: the heading of the figure.
        text: what stands below the heading, which is wrapped.
        xlabel, ylabel: the labels of the lowest and of the leftmost panels.
        shared: `sharex` and `sharey` of `Figure.subplots`.
    """
    rows = -(-count // across)
    columns = -(-count // rows)
    width = margin[0] + size[0] * columns
    lines = textwrap.wrap(text, int(_TEXT * (width - beside)))
    head = (0.27 if title else 0) + 0.15 * len(lines)
    height = head + margin[1] + size[1] * rows
    layout = ConstrainedLayoutEngine(rect=(0, 0, 1, 1 - head / height))
    figure = ShownFigure(figsize=(width, height), layout=layout)
    axes = figure.subplots(rows, columns, squeeze=False, **shared).ravel()
    for empty in axes[count:]:
        empty.set_axis_off()
    for lowest in axes[max(count - columns, 0) : count]:  # those above an empty place, too
        lowest.tick_params(labelbottom=True)
        lowest.set_xlabel(xlabel)
    for leftmost in axes[:count:columns]:
        leftmost.set_ylabel(ylabel)
    left, top = 0.06 / width, 1 - 0.06 / height
    if title:
        shown = for_figure(title, int(_TITLE * (width - beside)))
        figure.text(left, top, shown, va="top", fontsize="large", fontweight="bold")
    if lines:
        below = top - (0.23 if title else 0) / height
        figure.text(left, below, "\n".join(lines), va="top", fontsize=SMALL)
    return figure, axes[:count]


def panel_title(panel: Axes, text: object, inches: float, note: str = "") -> None:
    """Give a panel of this width its title, shortened where it is too long, and a note beside."""
    room = int(_TITLE * inches - len(note) * 0.75)
    panel.set_title(for_figure(text, max(room, 5)), x=0, ha="left")
    if note:
        panel.set_title(note, loc="right", fontsize=TINY, color=GREY)


def label_width(labels: Iterable[str]) -> float:
    """Return about how many inches the labels of rows take."""
    return 0.2 + 0.07 * min(max(map(len, labels)), LABEL)


def label_rows(panels: Sequence[Axes], rows: Sequence[tuple[str, str, bool]]) -> None:
    """Label the rows of panels that share them, from the top down: texts, colours, whether bold."""
    texts = [for_figure(text, LABEL) for text, _, _ in rows]
    panels[0].set_yticks(np.arange(len(rows)), texts)
    panels[0].set_ylim(len(rows) - 0.4, -1.1)
    for panel in panels:
        panel.tick_params(axis="y", length=0)
        panel.grid(axis="y", color=SHADE, linewidth=0.6)
        spec = panel.get_subplotspec()
        if spec is not None and spec.is_first_col():
            for label, (_, colour, bold) in zip(panel.get_yticklabels(), rows, strict=True):
                label.set(color=colour, fontweight="bold" if bold else "normal")


def _entries_across(labels: Iterable[str], inches: float) -> int:
    """Return how many entries of a legend fit beside each other."""
    lengths = list(map(len, labels))
    return min(max(int(inches / (0.55 + max(lengths) / _LEGEND)), 1), len(lengths))


def height_below(labels: Collection[str], inches: float) -> float:
    """Return the height that a legend with a title takes below panels; without labels none."""
    if not labels:
        return 0.0
    return 0.2 * (1 + -(-len(labels) // _entries_across(labels, inches)))


def shared_legend(figure: Figure, panel: Axes, title: str = "") -> None:
    """Add the legend of one panel below all panels, as many entries in a row as there is room."""
    handles, labels = panel.get_legend_handles_labels()
    columns = _entries_across(labels, figure.get_figwidth())
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, title=title or None)


def make_room(panel: Axes, entries: int, inches: float) -> None:
    """Raise the upper limit of a panel of this height, so that a legend fits above its content."""
    low, high = panel.get_ylim()
    ticks = [tick for tick in panel.get_yticks() if low <= tick <= high]
    panel.set_ylim(low, low + (high - low) / (1 - 0.16 * entries / inches))
    panel.set_yticks(ticks)


def room_for_legend(count: int, across: int, inches: float = 2.1) -> float:
    """Return the width that a legend needs beside so many panels: none if a place is empty."""
    rows = -(-count // across)
    return inches if -(-count // rows) * rows == count else 0.0


def legend(
    figure: Figure, panels: Sequence[Axes], inside: Axes | None = None, title: str = ""
) -> None:
    """Add one legend for all panels.

    Args:
        figure: a figure that `panels` has made.
        panels: its panels, the first of which has the labels.
        inside: the panel with room for it at the lower right. Without one it goes to an empty
            place of the figure, or else to its right.
        title: its heading.
    """
    handles, labels = panels[0].get_legend_handles_labels()
    heading: dict[str, Any] = {"title": title, "alignment": "left"} if title else {}
    empty = figure.axes[len(panels) :]
    if inside is not None:
        inside.legend(handles, labels, loc="lower right", **heading)
    elif empty:
        empty[-1].legend(handles, labels, loc="upper left", **heading)
    else:
        figure.legend(handles, labels, loc="outside right upper", **heading)


def plot_intervals(
    panel: Axes,
    y: Sequence[float] | Float[np.ndarray, " dot"],
    scores: Float[np.ndarray, "3 dot"],
    hues: Sequence[str],
    marker: str = "o",
    label: str = "",
) -> None:
    """Plot dots with whiskers from left to right; whatever leaves the panel is marked.

    Args:
        panel: axes whose limits are final; a dot outside them has no whiskers.
        y: the heights of the dots.
        scores: the dots, and the lower and upper ends of their whiskers.
        hues: the colours of the dots.
        marker, label: the dots' shape, and what a legend calls them.
    """
    heights, (centre, low, high) = np.asarray(y, float), scores
    left, right = panel.get_xlim()
    low, high = (np.where((left <= centre) & (centre <= right), end, np.nan) for end in (low, high))
    panel.hlines(heights, np.maximum(low, left), np.minimum(high, right), colors=hues)
    for hue in dict.fromkeys(hues):
        own = [i for i, one in enumerate(hues) if one == hue]
        panel.plot(centre[own], heights[own], marker, color=hue, label=label, zorder=3)
        label = ""
    for place, hue, *dot in zip(heights, hues, centre, low, high, strict=True):
        leaving = [x for x in dot if not left <= x <= right and not np.isnan(x)]
        mark_leaving(panel, leaving[:1], [place] * len(leaving[:1]), hue, along="x", above=True)


def ticks_at_sizes(panel: Axes, sizes: Sequence[int]) -> None:
    """Make the sizes the ticks of a logarithmic axis; where two would meet, one has no number."""
    panel.set_xscale("log")
    panel.xaxis.set_minor_locator(NullLocator())
    whole = np.log(sizes[-1] / sizes[0]) or 1.0
    labels, last = [f"{sizes[-1]:,}"], sizes[-1]
    for size in sizes[-2::-1]:
        apart = np.log(last / size) / whole > 0.09
        labels.append(f"{size:,}" if apart else "")
        last = size if apart else last
    panel.set_xticks(sizes, labels[::-1])
