"""The figure of a training run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cpdjax.files import write_figure

#: The hues of the two lines, which people with red-green blindness tell apart, and of their words.
_TRAINING, _VALIDATION = "#0072B2", "#D55E00"


def plot(rows: Sequence[Mapping[str, str]], unit: str, path: str | Path) -> None:
    """Plot training loss and validation error by molecules seen, from the rows of a run's log."""
    figure = Figure(figsize=(6, 3.2), dpi=150, layout="constrained")
    left = figure.subplots()
    seen = [int(row["molecules"]) for row in rows]
    left.set_xlabel("molecules seen")
    left.xaxis.set_major_formatter("{x:,.0f}")
    loss = [float(row["train_loss"]) for row in rows]
    _line(left, seen, loss, "o-", _TRAINING, "training loss (of the target's spread)")
    error = [float(row["validation_mae"]) for row in rows]
    _line(left.twinx(), seen, error, "s--", _VALIDATION, f"validation MAE ({unit})")
    write_figure(figure, path)


def _line(
    axes: Axes, x: Sequence[int], y: Sequence[float], look: str, hue: str, label: str
) -> None:
    """Plot one quantity on a logarithmic axis in its own hue."""
    axes.plot(x, y, look, color=hue, markersize=4, linewidth=1.2)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}" if max(y) < 10 * min(y) else "")
    axes.set_ylabel(label, color=hue, fontsize=9)
    axes.tick_params(which="both", axis="y", colors=hue, labelsize=8)
    axes.tick_params(axis="x", labelsize=8)
    axes.spines["top"].set_visible(False)
