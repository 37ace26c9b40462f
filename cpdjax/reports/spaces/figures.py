"""The figures of a comparison of spaces, and the files they are written to."""

from __future__ import annotations

from pathlib import Path

import xarray as xr

from cpdjax.reports.figures import write
from cpdjax.reports.spaces import values
from cpdjax.reports.spaces.dendrogram import plot_dendrogram
from cpdjax.reports.spaces.depths import pairs, plot_depths
from cpdjax.reports.spaces.map import groups, plot_map
from cpdjax.reports.spaces.matrix import plot_matrix
from cpdjax.reports.spaces.pairs import last_pairs, plot_pairs

#: Measures by which spaces are clustered and mapped: the first one that results hold.
PREFERRED = ("cka_debiased", "cka", "cca", "procrustes", "shared_neighbours", "r2", "imbalance")
MOST_PAIRS = 3
"""Pairs of models whose depths have a figure."""


def leading(table: xr.Dataset) -> str:
    """Return the measure that figures show unless another one is asked for."""
    held = values.measures(table)
    return next((name for name in PREFERRED if name in held), PREFERRED[0])


def depths_of(table: xr.Dataset, measure: str) -> dict[str, tuple[str, str]]:
    """Return the pairs of models whose depths have a figure, by the name of its file."""
    return {f"depths_{i}.png": own for i, own in enumerate(pairs(table, measure, MOST_PAIRS), 1)}


def save_figures(table: xr.Dataset, folder: str | Path) -> list[Path]:
    """Write the figures of a comparison into a folder; return their paths.

    - `pairs.png`, of two models or more: what stays alike at their last layers;
    - `matrix.png` and `dendrogram.png`, of two channels or more, and `r2.png`, in both directions;
    - `map.png`, of three channels or more that can be compared;
    - `depths_1.png` and so on, of the models that stay most alike, where they have several layers.

    Raises:
        InputError: the dataset compares no spaces, or holds no measure of pairs.
    """
    measure = leading(table)
    values.checked(table, measure)
    figures = {}
    if last_pairs(table, measure):
        figures["pairs.png"] = plot_pairs(table, measure)
    if table.sizes["channel"] > 1:
        figures["matrix.png"] = plot_matrix(table, measure)
        if "r2" in table and measure != "r2":
            figures["r2.png"] = plot_matrix(table, "r2")
        figures["dendrogram.png"] = plot_dendrogram(table, measure)
    if groups(table, measure):
        figures["map.png"] = plot_map(table, measure)
    for name, pair in depths_of(table, measure).items():
        figures[name] = plot_depths(table, *pair, measure)
    return write(figures, folder)
