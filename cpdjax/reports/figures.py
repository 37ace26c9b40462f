"""Figures: panels of one size, one legend for all of them, and the files they are written to."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cpdjax.files import write_figure

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
    **shared: Any,
) -> tuple[Figure, Sequence[Axes]]:
    """Make a figure of `count` panels.

    Args:
        count: the number of panels.
        across: the largest number of panels in a row.
        size, margin: width and height in inches, of each panel and of all that is around them.
        shared: `sharex` and `sharey` of `Figure.subplots`.
    """
    columns = min(across, count)
    rows = -(-count // columns)
    whole = (margin[0] + size[0] * columns, margin[1] + size[1] * rows)
    figure = ShownFigure(figsize=whole, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **shared).ravel()
    for empty in axes[count:]:
        empty.set_visible(False)
    return figure, axes[:count]


def shared_legend(
    figure: Figure, panel: Axes, columns: int, place: Any = "outside lower center"
) -> None:
    """Add the legend of one panel to the figure, for all its panels, at a `loc` of Matplotlib."""
    handles, labels = panel.get_legend_handles_labels()
    figure.legend(handles, labels, loc=place, ncols=columns, fontsize="small")
