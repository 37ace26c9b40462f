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
from cpdjax.reports.spaces.distances import comparable, distances, undefined_text, within
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
    >>> round(plane.share, 6), np.ptp(plane.points[:, 0]).round(6).item()
    (1.0, 4.0)
    """
    centre = np.eye(len(far)) - 1 / len(far)
    eigenvalues, vectors = np.linalg.eigh(-0.5 * centre @ far**2 @ centre)
    largest = np.maximum(eigenvalues[:-3:-1], 0)
    total = np.abs(eigenvalues).sum() or 1.0
    points = np.zeros((len(far), 2))
    points[:, : len(largest)] = vectors[:, :-3:-1] * np.sqrt(largest)
    negative = -eigenvalues[eigenvalues < 0].sum()
    return Plane(points, float(largest.sum() / total), float(negative / total))


def groups(table: xr.Dataset, measure: str) -> list[list[int]]:
    """Return the groups of channels that can be compared and make a plane, by number."""
    raw = next(iter(values.sides(values.checked(table, measure))))
    found = comparable(distances(table, measure, raw))
    return [group.tolist() for group in found if len(group) >= LEAST]


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
    found, sides = groups(table, measure), values.sides(table)
    if not found:
        raise InputError(
            f"a map needs {LEAST} channels that can be compared with each other: add models, "
            "layers or irreps"
        )
    names = [for_figure(values.named(model), LABEL) for model in values.models(table)]
    width = 0.6 + _SIZE * len(sides)
    figure, axes = panels(
        len(found) * len(sides), across=len(sides), size=(_SIZE, _SIZE),
        margin=(0.3, 0.3 + height_below(names, width)),
        title=f"Map of {OF_PAIRS[measure].label}", text=_caption(table, measure),
    )  # fmt: skip
    for row, group in enumerate(found):
        own = axes[row * len(sides) : (row + 1) * len(sides)]
        _plot_group(own, table, measure, group, is_told=len(found) > 1)
    shared_legend(figure, axes[0])
    return figure


def _caption(table: xr.Dataset, measure: str) -> str:
    """Say what distances are, what marks mean, and of which molecules."""
    known = OF_PAIRS[measure]
    every = [distances(table, measure, side) for side in values.sides(table)]
    squared = f"2 (1 − {known.label.removesuffix(' a → b')})" if known.more_alike else known.label
    return values.caption(
        values.molecules_text(table),
        f"squared distance: {squared}" if known.more_alike else f"distance: {squared}",
        "mean of both directions" if known.directed else "",
        undefined_text(every),
        "lines: layers along the depth, the last one largest",
        "hollow: control (no coordinate, or random weights)" if values.controls_text(table) else "",
        "axes have no meaning of their own",
    )


def _plot_group(
    axes: Sequence[Axes], table: xr.Dataset, measure: str, group: list[int], *, is_told: bool
) -> None:
    """Plot one group that can be compared, a panel for each projection, turned onto the first."""
    sides, planes = values.sides(table), list[dict[int, Float[np.ndarray, "2"]]]()
    for panel, (projection, words) in zip(axes, sides.items(), strict=True):
        far = distances(table, measure, projection)[np.ix_(group, group)]
        left = comparable(far)[0]  # of some channels, a projection leaves nothing
        own = within(far, left)
        # A likeness is a cosine of what it compares, so that this is the distance of unit vectors.
        plane = classical_scaling(np.sqrt(2 * own) if OF_PAIRS[measure].more_alike else own)
        points = dict(zip(np.take(group, left).tolist(), plane.points, strict=True))
        planes.append(_turned(points, planes[0]) if planes else points)
        irreps = ", ".join(sorted({values.channels(table)[i][2] for i in group}))
        gone = len(group) - len(left)
        lost = f"nothing left of {gone} channel{'s' if gone > 1 else ''}" if gone else ""
        panel_title(panel, f"{words}, {irreps}" if is_told else words, _SIZE, lost)
        panel.set_xlabel(_said(plane))
    reach = 1.15 * max(np.abs(list(points.values())).max() for points in planes) or 1.0
    for panel, points in zip(axes, planes, strict=True):
        _plot_points(panel, table, points)
        panel.set(xlim=(-reach, reach), ylim=(-reach, reach), xticks=[], yticks=[])
        panel.set_aspect("equal")
        panel.spines[:].set_visible(True)


def _turned(
    points: dict[int, Float[np.ndarray, "2"]], first: dict[int, Float[np.ndarray, "2"]]
) -> dict[int, Float[np.ndarray, "2"]]:
    """Return points turned or mirrored about the origin, so that they lie on others by number."""
    a, b = (np.stack([own[i] for i in points]) for own in (points, first))
    return dict(zip(points, a @ orthogonal_procrustes(a, b)[0], strict=True))


def _said(plane: Plane) -> str:
    """Say how much of the distances a plane shows."""
    said = f"{100 * plane.share:.0f} % of squared distance"
    if round(100 * plane.negative) > 0:
        said += f"; {100 * plane.negative:.0f} % in negative eigenvalues"
    return said


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
