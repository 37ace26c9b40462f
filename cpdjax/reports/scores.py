"""The scores of a sweep, summed up and as a table."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from cpdjax.errors import InputError
from cpdjax.reports.objectives import controls_note
from cpdjax.reports.sheet import Column, Kind, Sheet
from cpdjax.reports.symbols import target_text
from cpdjax.reports.text import bounded_text
from cpdjax.sweeps.table import OWN, beyond, explained, present, setting

#: Model, layer and irrep of a channel.
Names = tuple[str, str, str]

_STAR = "* R² of a fold is below -1"  # `hints` says why, and what to do

#: The number of channels of a table that has their quartiles too.
MOST_WITH_QUARTILES = 16


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


def text_table(table: xr.Dataset) -> Sheet:
    """Return a table of R²_geom at the largest size: a row for each channel, the best model first.

    Models are in order of their best channel's median over targets, and the channels of a model in
    the order in which the data pass them. Few channels have their quartiles beside the median,
    unless that is too much for a terminal.
    """
    scores = summary(table).isel(size=-1)
    ordered = best_first(list(present(table)), scores)
    medians = _text_table(table, scores, ordered, with_quartiles=False)
    if len(ordered) > MOST_WITH_QUARTILES:
        return medians
    note = "Quartiles: in a wider terminal, in a pipe, and with --json."
    whole = _text_table(table, scores, ordered, with_quartiles=True)
    return replace(whole, brief=replace(medians, notes=(*medians.notes, note)))


def _text_table(
    table: xr.Dataset, scores: xr.Dataset, ordered: Sequence[Names], with_quartiles: bool
) -> Sheet:
    """Return the table of channels in order, with or without quartiles."""
    targets, known = targets_of(table), list(present(table))
    columns = [*channel_columns(ordered), *([] if with_quartiles else [Column("features")])]
    columns += [Column(target_text(*target)) for target in targets]
    texts = [_texts(scores.isel(target=t), with_quartiles) for t in range(len(targets))]
    composition = [bounded_text(value) for value in scores.r2_comp.values]
    empty = [""] * (not with_quartiles)
    rows = [["composition alone", "R²_comp", "", *empty, *composition]]
    what = beyond(table)
    if what != "composition":
        further = explained(table).isel(size=-1).median(("fold", "repeat")).values
        rows.append([what, "R²", "", *empty, *map(bounded_text, further)])
    records = []
    for channel in ordered:
        i = known.index(channel)
        counted = [] if with_quartiles else [f"{_count(table, channel):,}"]
        rows.append([*channel, *counted, *(cells[i] for cells in texts)])
        records += [_record(table, scores, channel, i, t) for t in range(len(targets))]
    shown = "median (quartiles)" if with_quartiles else "median"
    name = "R²_geom" if what == "composition" else f"R²_geom beyond {what}"
    if components := setting(table, "components"):
        name += f" of {components:,} components"
    title = f"{name} at N = {int(scores['size']):,}: {shown} over folds and repeats, best first"
    starred = any(cell.endswith("*") for row in rows for cell in row)
    notes = (*([_STAR] if starred else []), *controls_note([model for model, _, _ in ordered]))
    return Sheet("scores", title, columns, rows, records, notes)


def targets_of(table: xr.Dataset) -> list[tuple[str, str]]:
    """Return the names and units of targets."""
    units = table.unit.values if "unit" in table.coords else [""] * table.sizes["target"]
    return [(str(t), str(u)) for t, u in zip(table.target.values, units, strict=True)]


def channel_columns(channels: Sequence[Names]) -> list[Column]:
    """Return columns of model, layer and irrep; models with several channels stand above them."""
    several = len({model for model, _, _ in channels}) < len(channels)
    kinds: tuple[Kind, ...] = ("group" if several else "name", "name", "name")
    return [Column(name, kind) for name, kind in zip(OWN, kinds, strict=True)]


def best_first(channels: Sequence[Names], scores: xr.Dataset) -> list[Names]:
    """Return channels in order: models by their best one, those of each model as they are.

    Scores are medians over targets of what `summary` returns at one size.
    """
    medians = scores["median"].clip(min=-1).median("target").fillna(-np.inf).to_numpy()
    best: dict[str, float] = {}
    for (model, _, _), value in zip(channels, medians, strict=True):
        best[model] = max(value, best.get(model, -np.inf))
    return sorted(channels, key=lambda channel: -best[channel[0]])


def _texts(scores: xr.Dataset, with_quartiles: bool) -> list[str]:
    """Return the cells of one target, channel by channel, digits below digits."""
    cells = []
    for i in range(scores.sizes["channel"]):
        one = {k: scores[k].values[i] for k in ("median", "lower", "upper", "worst")}
        text = bounded_text(one["median"])
        if with_quartiles and np.isfinite(one["median"]):
            text += f" ({bounded_text(one['lower'])}, {bounded_text(one['upper'])})"
        cells.append(text + ("*" if one["worst"] < -1 else ""))
    starred = any(cell.endswith("*") for cell in cells)
    return [cell if cell.endswith("*") or not starred else f"{cell} " for cell in cells]


def _count(table: xr.Dataset, channel: Names) -> int:
    return int(table.n_features.sel(dict(zip(OWN, channel, strict=True))))


def _record(
    table: xr.Dataset, scores: xr.Dataset, channel: Names, i: int, t: int
) -> dict[str, Any]:
    """Return the numbers of one channel and target."""
    one = scores.isel(channel=i, target=t)
    return {
        **dict(zip(OWN, channel, strict=True)),
        "features": _count(table, channel),
        "target": str(one.target.item()),
        "unit": targets_of(table)[t][1],
        "size": int(one["size"]),
        "r2_geom": one["median"].item(),
        "lower_quartile": one["lower"].item(),
        "upper_quartile": one["upper"].item(),
        "worst_fold": one["worst"].item(),
        "r2_comp": one.r2_comp.item(),
    }
