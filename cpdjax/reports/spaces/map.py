"""The map: channels as points of a plane, near where they are alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.linalg import orthogonal_procrustes

from cpdjax.errors import InputError
from cpdjax.likeness.measures import OF_PAIRS
from cpdjax.reports.figures import height_below, panel_title, panels, shared_legend
from cpdjax.reports.spaces import values
from cpdjax.reports.spaces.distances import comparable, distances, within
from cpdjax.reports.style import LABEL, colours, markers, styled
from cpdjax.reports.text import for_figure

LEAST = 3
"""Channels of a map; two are a distance, and no plane."""
_SIZE = 3.4


class Plane(NamedTuple):
    """Hold points, and how much of the squared distances they show."""

    points: Float[np.ndarray, "member 2"]
    #: The part of Σ|λ| in the two largest eigenvalues (K. V. Mardia, Commun. Stat. 7, 1233, 1978).
    share: float
    #: The part of Σ|λ| in negative eigenvalues: what no Euclidean space shows.
    negative: float


def classical_scaling(far: Float[np.ndarray, "member member"]) -> Plane:
    """Return the plane that shows distances best: W. S. Torgerson, Psychometrika 17, 401 (1952).

    >>> far = np.abs(np.subtract.outer([0.0, 3.0, 4.0], [0.0, 3.0, 4.0]))
    >>> plane = classical_scaling(far)
    >>> round(plane.share, 6), round(abs(plane.points[0, 0] - plane.points[2, 0]), 6)
    (1.0, 4.0)
    """
    centre = np.eye(len(far)) - 1 / len(far)
    eigenvalues, vectors = np.linalg.eigh(-0.5 * centre @ far**2 @ centre)
    largest = np.maximum(eigenvalues[:-3:-1], 0)
    total = np.abs(eigenvalues).sum() or 1.0
    points = vectors[:, :-3:-1] * np.sqrt(largest)
    negative = -eigenvalues[eigenvalues < 0].sum()
    return Plane(points, float(largest.sum() / total), float(negative / total))


@styled
def plot_map(table: xr.Dataset, measure: str = "cka_debiased") -> Figure:
    """Plot every channel as a point, near those it is like; lines go through the layers of a model.

    Raw and with composition removed are side by side, and the second is turned so that it lies on
    the first as well as it can. Groups that cannot be compared have panels of their own.

    Args:
        table: what `cpdjax.spaces` returns.
        measure: a key of `likeness.measures.OF_PAIRS`.

    Raises:
        InputError: the dataset compares no spaces, does not hold the measure, or holds fewer than
            three channels that can be compared.
        UnknownNameError: there is no such measure.
    """
    sides = values.sides(values.checked(table, measure))
    groups = [
        group.tolist()
        for group in comparable(distances(table, measure, values.removed(table)))
        if len(group) >= LEAST
    ]
    if not groups:
        raise InputError(
            f"a map needs {LEAST} channels that can be compared with each other: add models, "
            "layers or irreps"
        )
    names = [for_figure(values.named(model), LABEL) for model in values.models(table)]
    width = 0.6 + _SIZE * len(sides)
    figure, axes = panels(
        len(groups) * len(sides), across=len(sides), size=(_SIZE, _SIZE),
        margin=(0.3, 0.3 + height_below(names, width)),
        title=f"Map of {OF_PAIRS[measure].label}", text=_caption(table, measure),
    )  # fmt: skip
    for row, group in enumerate(groups):
        own = axes[row * len(sides) : (row + 1) * len(sides)]
        _plot_group(own, table, measure, group, is_told=len(groups) > 1)
    shared_legend(figure, axes[0])
    return figure


def _caption(table: xr.Dataset, measure: str) -> str:
    """Say what distances are, what marks mean, and of which molecules."""
    known = OF_PAIRS[measure]
    squared = f"2 (1 − {known.label.removesuffix(' a → b')})" if known.more_alike else known.label
    return values.caption(
        values.molecules_text(table),
        f"squared distance: {squared}" if known.more_alike else f"distance: {squared}",
        "mean of both directions" if known.directed else "",
        "lines: layers along the depth, the last one largest",
        "hollow: control (no coordinate, or random weights)" if values.controls_text(table) else "",
        "axes have no meaning of their own",
    )


def _plot_group(
    axes: Sequence[Axes], table: xr.Dataset, measure: str, group: list[int], *, is_told: bool
) -> None:
    """Plot one group that can be compared, a panel for each projection, turned onto the first."""
    planes, sides = [], values.sides(table)
    for projection in sides:
        far = within(distances(table, measure, projection), np.asarray(group))
        # A likeness is a cosine of what it compares, so that this is the distance of unit vectors.
        plane = classical_scaling(np.sqrt(2 * far) if OF_PAIRS[measure].more_alike else far)
        first = planes[0].points if planes else plane.points
        turned = plane.points @ orthogonal_procrustes(plane.points, first)[0]
        planes.append(plane._replace(points=turned))
    reach = 1.15 * max(float(np.abs(plane.points).max()) for plane in planes) or 1.0
    irreps = ", ".join(sorted({values.channels(table)[i][2] for i in group}))
    for panel, plane, words in zip(axes, planes, sides.values(), strict=True):
        panel_title(panel, f"{words}, {irreps}" if is_told else words, _SIZE)
        _plot_points(panel, table, dict(zip(group, plane.points, strict=True)))
        panel.set(xlim=(-reach, reach), ylim=(-reach, reach), xticks=[], yticks=[])
        panel.set_aspect("equal")
        panel.spines[:].set_visible(True)
        said = f"{100 * plane.share:.0f} % of squared distance"
        if round(100 * plane.negative) > 0:
            said += f"; {100 * plane.negative:.0f} % in negative eigenvalues"
        panel.set_xlabel(said)


def _plot_points(panel: Axes, table: xr.Dataset, points: dict[int, Float[np.ndarray, "2"]]) -> None:
    """Plot points by channel, with a line through the layers of every model and irrep."""
    models = values.models(table)
    hues, shapes = colours(models), markers(models)
    told: set[str] = set()
    for (model, _), path in values.paths(table).items():
        own = [i for i in path if i in points]
        label = "" if model in told or not own else for_figure(values.named(model), LABEL)
        told |= {model} if own else set()
        x, y = np.reshape([points[i] for i in own], (-1, 2)).T
        face = "white" if values.is_control(model) else hues[model]
        panel.plot(x, y, "-", color=hues[model], linewidth=0.8, alpha=0.6, zorder=2)
        for step, (one, other) in enumerate(zip(x, y, strict=True), 1):
            last = step == len(own)
            panel.plot(
                one, other, shapes[model], color=hues[model], markerfacecolor=face, zorder=3,
                markersize=3 + 3.5 * step / len(own), label=label if last else "",
            )  # fmt: skip
