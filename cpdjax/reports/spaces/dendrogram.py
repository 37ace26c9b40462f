"""The dendrogram: which channels are families, raw and with composition removed."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from scipy.cluster.hierarchy import dendrogram

from cpdjax.errors import InputError
from cpdjax.likeness.measures import OF_PAIRS
from cpdjax.reports.figures import panels
from cpdjax.reports.spaces import values
from cpdjax.reports.spaces.distances import (
    Square,
    comparable,
    distance_text,
    distances,
    tree,
    undefined_text,
    within,
)
from cpdjax.reports.spaces.matrix import MOST_CHANNELS, MOST_LARGE
from cpdjax.reports.style import INK, SMALL, TINY, colours, styled
from cpdjax.reports.text import for_figure

_NAME, _LETTER, _WIDTH = 44, 0.056, 2.6  # characters of a label, inches of one, and of a tree
_PLACE = 10.0  # between two leaves in scipy's trees


@styled
def plot_dendrogram(table: xr.Dataset, measure: str = "cka_debiased") -> Figure:
    """Plot the trees of all channels: what joins near zero is alike.

    Raw and with composition removed stand side by side, each in an order of its own. Channels that
    cannot be compared are in trees of their own.

    Args:
        table: what `cpdjax.spaces` returns.
        measure: a key of `likeness.measures.OF_PAIRS`.

    Raises:
        InputError: the dataset compares no spaces, does not hold the measure, or has one channel.
        UnknownNameError: there is no such measure.
    """
    table, note = values.shown(values.checked(table, measure), MOST_CHANNELS)
    count = table.sizes["channel"]
    if count < 2:
        raise InputError("a tree needs two channels, and the results hold one: compare more layers")
    names = _names(table)
    row, room = 0.13 if count > MOST_LARGE else 0.165, 0.2 + _LETTER * max(map(len, names))
    sides = values.sides(table)
    every = [distances(table, measure, side) for side in sides]
    is_alone = any(len(group) == 1 for far in every for group in comparable(far))
    alone = "dots: compared with no other (nothing is left of it)" if is_alone else ""
    text = (
        "average linkage",
        alone,
        undefined_text(every),
        values.molecules_text(table),
        values.controls_text(table),
        note,
    )
    figure, axes = panels(
        len(sides), across=2, size=(_WIDTH + room, row * count + 0.2), margin=(0.2, 0.6),
        title=f"Families by {OF_PAIRS[measure].label}", text=values.caption(*text),
        xlabel=distance_text(measure), sharex=True,
    )  # fmt: skip
    hues = colours(values.models(table))
    models = [model for model, _, _ in values.channels(table)]
    reach = max(float(np.nanmax(far)) for far in every) or 1.0
    axes[0].set_xlim(1.05 * reach, -0.01 * reach)
    for panel, far, words in zip(axes, every, sides.values(), strict=True):
        panel.set_title(words, x=0, ha="left")
        order = _draw_trees(panel, far)
        size = TINY if count > MOST_LARGE else SMALL
        panel.set_yticks(range(count), [names[i] for i in order], fontsize=size)
        panel.tick_params(axis="y", length=0, left=False, labelleft=False, labelright=True)
        for label, i in zip(panel.get_yticklabels(), order, strict=True):
            label.set_color(hues[models[i]])
    return figure


def _names(table: xr.Dataset) -> list[str]:
    """Return model and layer of every channel."""
    both = zip(values.channels(table), values.layer_names(table), strict=True)
    return [for_figure(f"{values.named(model)} {layer}", _NAME) for (model, *_), layer in both]


def _draw_trees(panel: Axes, far: Square) -> list[int]:
    """Draw the tree of each group below that of the one before; return the order of channels."""
    order: list[int] = []
    for group in comparable(far):
        first = len(order)
        if len(group) == 1:
            panel.plot(0, first, ".", color=INK, markersize=3)
            order += group.tolist()
            continue
        drawn = dendrogram(tree(within(far, group)), no_plot=True)
        places = first + (np.asarray(drawn["icoord"]) - _PLACE / 2) / _PLACE
        links = np.stack([np.asarray(drawn["dcoord"]), places], axis=-1)
        panel.add_collection(LineCollection(list(links), colors=INK, linewidths=0.8))
        order += group[drawn["leaves"]].tolist()
    panel.spines["left"].set_visible(False)
    panel.set_ylim(len(order) - 0.5, -0.5)
    return order
