"""The scores of a sweep, summed up and as a table."""

from __future__ import annotations

import warnings

import numpy as np
import xarray as xr
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from cpdjax.errors import InputError
from cpdjax.reports.text import for_terminal, left_out_text, score_text
from cpdjax.sweeps.table import present

_STAR = "* R² of a fold is below -1: held-out molecules are outside the training range"

#: What a table or figure holds: the best of more channels, the first of more targets.
MOST_CHANNELS, MOST_TARGETS = 8, 24


def summary(table: xr.Dataset) -> xr.Dataset:
    """Return median, quartiles and minimum of R²_geom over folds and repeats.

    The result has axes (channel, size, target).

    The median in place of the mean is our choice. R² has no lower bound, and a single held-out
    molecule far outside the range of the training molecules can carry a fold, and with it any
    mean, below -1,000.

    Along a grid of α the one with the best median is taken for each channel, target and size. This
    is a little optimistic, since α is chosen on the scores it reports; `alphas="loo"` is not.

    Raises:
        InputError: the results hold no channel.
    """
    channels = list(present(table))
    if not channels:
        raise InputError("the results hold no channel")
    frames = []
    for model, layer, irrep in channels:
        one = table.r2_geom.sel(model=model, layer=layer, irrep=irrep, drop=True)
        medians = one.median(("repeat", "fold")).fillna(-np.inf)
        chosen = one.isel(alpha=medians.argmax("alpha"))
        with warnings.catch_warnings():
            # A constant target has no score in any fold, and its quartiles are rightly NaN.
            warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)
            quartiles = chosen.quantile([0.25, 0.5, 0.75], ("repeat", "fold"))
        parts = dict(zip(("lower", "median", "upper"), quartiles, strict=True))
        parts["worst"] = chosen.min(("repeat", "fold"))
        frames.append(
            xr.Dataset({k: v.drop_vars("quantile", errors="ignore") for k, v in parts.items()})
        )
    labels = [f"{m} / {layer}" + ("" if ir == "0e" else f" / {ir}") for m, layer, ir in channels]
    scores = xr.concat(
        frames, xr.DataArray(labels, dims="channel", name="channel"),
        coords="minimal", compat="override",
    )  # fmt: skip
    scores["r2_comp"] = table.r2_comp.median(("fold", "repeat"))
    return scores


def text_table(table: xr.Dataset, width: int = 200) -> Table:
    """Return a table of R²_geom of every channel and target at the largest size.

    Few channels have a column each, with median and quartiles. Many channels have a row each, with
    the median of as many targets as `width` characters hold.
    """
    scores = summary(table).isel(size=-1)
    if scores.sizes["channel"] > MOST_CHANNELS:
        return _channel_rows(table, scores, width)
    shown = Table(
        title=f"R²_geom at N = {int(scores['size']):,}: median (quartiles) over folds and repeats",
        caption=_STAR,
    )
    shown.add_column("target", no_wrap=True)
    shown.add_column("R²_comp", justify="right", no_wrap=True)
    for label in scores.channel.values:
        lines = map(for_terminal, str(label).split(" / "))
        shown.add_column(Text("\n").join(lines), justify="right", no_wrap=True)
    for target in scores.target.values:
        row = scores.sel(target=target)
        unit = str(row.unit.item())
        name = f"{target} ({unit})" if unit else str(target)
        cells = [_cell(row.isel(channel=i)) for i in range(scores.sizes["channel"])]
        shown.add_row(for_terminal(name), score_text(row.r2_comp.item(), 3), *cells)
    return shown


def _channel_rows(table: xr.Dataset, scores: xr.Dataset, width: int) -> Table:
    fitting = max((width - 52) // 9, 1)
    targets = scores.target.values[:fitting]
    left_out = left_out_text(targets=scores.sizes["target"] - len(targets))
    shown = Table(
        title=f"R²_geom at N = {int(scores['size']):,}: median over folds and repeats",
        caption=f"{_STAR}\n{left_out}" if left_out else _STAR,
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    for name in ("model", "layer", "irrep"):
        shown.add_column(name, no_wrap=True)
    for name in ("features", *map(str, targets)):
        shown.add_column(for_terminal(name), justify="right", overflow="fold")
    composition = [score_text(scores.r2_comp.sel(target=t).item()) + " " for t in targets]
    shown.add_row("R²_comp", "", "", "", *composition, end_section=True)
    before = None
    for i, (model, layer, irrep) in enumerate(present(table)):
        row = scores.isel(channel=i)
        count = table.n_features.sel(model=model, layer=layer, irrep=irrep).item()
        cells = [_median(row.sel(target=t)) for t in targets]
        names = map(for_terminal, ("" if model == before else model, layer, irrep))
        shown.add_row(*names, str(count), *cells)
        before = model
    return shown


def _cell(score: xr.Dataset) -> str:
    median, low, high, worst = (score[k].item() for k in ("median", "lower", "upper", "worst"))
    if not np.isfinite(median):
        return score_text(median)
    star = "*" if worst < -1 else " "
    return f"{score_text(median)} ({score_text(low)}, {score_text(high)}){star}"


def _median(score: xr.Dataset) -> str:
    return score_text(score["median"].item()) + ("*" if score["worst"] < -1 else " ")
