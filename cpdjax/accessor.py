"""Give every table of results `table.cpd.plot()` and `table.cpd.summary()`.

xarray finds an accessor by its registration alone, so whatever makes or loads tables imports this
file. What it shows them with stands far above, and is imported on use: matplotlib not before a
figure is asked for. This is the one place of the package that points up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, get_args

import xarray as xr

from cpdjax.configuration import names_in
from cpdjax.errors import InputError, UnknownNameError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Kind = Literal["headline", "curves", "targets"]
KindOfSpaces = Literal["matrix", "pairs", "dendrogram", "map"]


@xr.register_dataset_accessor("cpd")
class Accessor:
    """Show results of `cpdjax.sweep` or `cpdjax.spaces`: `table.cpd` of an `xarray.Dataset`."""

    def __init__(self, table: xr.Dataset):
        self._table = table

    def plot(
        self,
        kind: Kind | KindOfSpaces | None = None,
        *,
        target: str | Sequence[str] | None = None,
        measure: str | None = None,
    ) -> Figure:
        """Return a figure with intervals, which a notebook shows.

        Args:
            kind: "headline": model by model, at the largest size; "curves": against the number of
                molecules; "targets": target by target and channel by channel. By default the
                headline of two models or more, curves of two sizes or more, or else targets. A
                comparison of spaces has "matrix", by default: all channels against each other;
                "pairs": last layers; "dendrogram": families; "map": channels in a plane.
            target: one target, or several, in a list or separated by commas; by default all that a
                figure of a sweep holds.
            measure: a measure of likeness; by default the debiased CKA if results hold it.

        Raises:
            UnknownNameError: there is no such kind, target or measure.
            InputError: the dataset holds no results, or they do not hold what is asked for.
        """
        if "channel_a" in self._table.dims:
            return self._plot_spaces(kind or "matrix", target, measure)
        if measure is not None:
            raise InputError("results of a sweep have no measure of likeness: leave measure out")
        from cpdjax.reports import score_figures
        from cpdjax.sweeps.table import models_of

        table = self._results(target)
        if kind is None:
            several = len(models_of(table)) > 1
            kind = "headline" if several else "curves" if table.sizes["size"] > 1 else "targets"
        if kind not in get_args(Kind):
            raise UnknownNameError("kind of figure", kind, get_args(Kind))
        figure: Figure = getattr(score_figures, f"plot_{kind}")(table)
        return figure

    def _plot_spaces(
        self, kind: str, target: str | Sequence[str] | None, measure: str | None
    ) -> Figure:
        """Return a figure of a comparison of spaces."""
        from cpdjax.reports.spaces import figures

        if target is not None:
            raise InputError("a comparison of spaces has no targets: leave target out")
        if kind not in get_args(KindOfSpaces):
            raise UnknownNameError("kind of figure", kind, get_args(KindOfSpaces))
        shown = figures.leading(self._table) if measure is None else measure
        figure: Figure = getattr(figures, f"plot_{kind}")(self._table, shown)
        return figure

    def summary(self, *, target: str | Sequence[str] | None = None) -> pd.DataFrame:
        """Return a row for every channel and target, best first; see `sweeps.table.summary`.

        Raises:
            UnknownNameError: there is no such target.
            InputError: the dataset holds no results of a sweep.
        """
        from cpdjax.sweeps.table import summary

        return summary(self._results(target))

    def _results(self, target: str | Sequence[str] | None) -> xr.Dataset:
        """Return the results, of some targets where these are named."""
        if not {"r2_geom", "r2_full", "r2_comp", "n_features"} <= set(self._table):
            raise InputError(
                "this dataset holds no results: .cpd shows what cpdjax.sweep or "
                "cpdjax.sweeps.results.load returns"
            )
        if target is None:
            return self._table
        known = [str(name) for name in self._table.target.values]
        wanted = names_in(target, known)
        for name in wanted:
            if name not in known:
                raise UnknownNameError("target", name, known)
        return self._table.sel(target=wanted)
