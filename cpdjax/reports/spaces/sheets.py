"""What a terminal shows of a comparison of spaces: what each channel is like, and what is near."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations, product
from typing import Any

import numpy as np
import xarray as xr

from cpdjax.likeness.measures import OF_CHANNELS, OF_PAIRS
from cpdjax.reports.sheet import Column, Sheet
from cpdjax.reports.spaces import values
from cpdjax.reports.spaces.figures import leading
from cpdjax.reports.spaces.tables import NONE
from cpdjax.reports.text import left_out_text, p_text, score_text
from cpdjax.representations.parts import TWINS
from cpdjax.sweeps.table import OWN

#: Channels of which every pair and measure is shown; of more, each with its nearest.
FEW = 3
MOST_CHANNELS = 16
_NAMED = 4
_ENDS = ("low", "high", "null", "p", "p_adjusted")


def sheets(table: xr.Dataset) -> list[Sheet]:
    """Return the tables of a comparison that a terminal shows."""
    found = [_of_channels(table)] if any(name in table for name in OF_CHANNELS) else []
    if not values.measures(table):
        return found
    few = table.sizes["channel"] <= FEW
    return [*found, _of_pairs(table) if few else _of_nearest(table)]


def pairs(table: xr.Dataset) -> list[dict[str, Any]]:
    """Return every measure of all pairs that can be compared, for scripts."""
    own = values.channels(table)
    made = []
    for name in values.measures(table):
        for side in values.sides(table):
            numbers = _numbers(table, name, side)
            for a, b in np.argwhere(np.isfinite(numbers["value"])):
                if a < b or (a != b and OF_PAIRS[name].directed):
                    told = {key: float(n[a, b]) for key, n in numbers.items()}
                    named = {"a": list(own[a]), "b": list(own[b])}
                    made.append({"measure": name, "projection": side, **named, **told})
    return made


def _numbers(table: xr.Dataset, name: str, side: str) -> dict[str, np.ndarray]:
    """Return a measure of all pairs, with what is known of its uncertainty."""
    ends = [end for end in _ENDS if f"{name}_{end}" in table]
    known = {end: values.matrix(table, name, side, f"_{end}") for end in ends}
    return {"value": values.matrix(table, name, side), **known}


def _of_channels(table: xr.Dataset) -> Sheet:
    """Return what is measured of each channel by itself, a row for each projection."""
    held = [name for name in OF_CHANNELS if name in table]
    kept, note = _kept(table)
    rows, records = [], []
    for i, layer, side, words in _rows(table, kept):
        own = {name: float(table[name].sel(projection=side)[i]) for name in held}
        cells = [f"{value:.1f}" if np.isfinite(value) else NONE for value in own.values()]
        rows.append([values.channels(table)[i][0], layer, words, *cells])
        records.append(_named(table, i) | {"projection": side} | own)
    heads = [Column(OF_CHANNELS[name].label) for name in held]
    title = values.caption("Dimensions of each channel", values.molecules_text(table))
    columns = [Column("model", "group"), Column("layer", "name"), Column("space", "name"), *heads]
    return Sheet("channels", title, columns, rows, records, [*note, *_twins(table)])


def _of_nearest(table: xr.Dataset) -> Sheet:
    """Return the nearest channel of each, a row for each projection."""
    name = leading(table)
    measure, own, models = OF_PAIRS[name], values.channels(table), values.models(table)
    other = np.array([[a[0] != b[0] or len(models) == 1 for b in own] for a in own])
    kept, note = _kept(table)
    rows, records, used = [], [], set[str]()
    for i, layer, side, words in _rows(table, kept):
        numbers = _numbers(table, name, side)
        near = (1 if measure.more_alike else -1) * np.where(other[i], numbers["value"][i], np.nan)
        near[i] = np.nan
        if np.isnan(near).all():
            rows.append([own[i][0], layer, words, NONE, NONE])
            continue
        b = int(np.nanargmax(near))
        told = {key: float(n[i, b]) for key, n in numbers.items()}
        rows.append([own[i][0], layer, words, _channel(table, b), *_cells(told)])
        nearest = _named(table, b, "_nearest")
        records.append(_named(table, i) | {"projection": side} | nearest | told)
        used |= told.keys()
    rows = [[*row, *[NONE] * (max(map(len, rows)) - len(row))] for row in rows]
    heads = [Column("nearest", "name"), Column(measure.label), *_uncertain(used)]
    whose = "of another model" if len(models) > 1 else "of its own"
    title = f"The nearest channel {whose}, by {measure.label}"
    columns = [Column("model", "group"), Column("layer", "group"), Column("space", "name"), *heads]
    notes = [*note, *_about(table)]
    whole = Sheet("nearest", title, columns, rows, records, notes, heading="{} / {}")
    return replace(whole, brief=_brief(whole)) if used - {"value"} else whole


def _brief(whole: Sheet) -> Sheet:
    """Return a sheet without intervals and chance, for terminals that are too narrow for them."""
    kept = [i for i, c in enumerate(whole.columns) if c.head not in ("95 % interval", "by chance")]
    columns = [whole.columns[i] for i in kept]
    rows = [[row[i] for i in kept] for row in whole.rows]
    more = "A wider terminal, a pipe and --json show intervals and what is reached by chance."
    return replace(whole, columns=columns, rows=rows, notes=[*whole.notes, more])


def _of_pairs(table: xr.Dataset) -> Sheet:
    """Return every measure of every pair, a row for each measure and projection."""
    rows, records, used = [], [], set[str]()
    for a, b in combinations(range(table.sizes["channel"]), 2):
        pair = f"{_channel(table, a)} – {_channel(table, b)}"
        for name in values.measures(table):
            label, sides = OF_PAIRS[name].label, values.sides(table).items()
            ways = {label: (a, b), label.replace("a → b", "b → a"): (b, a)}
            for (text, place), (side, words) in product(ways.items(), sides):
                numbers = _numbers(table, name, side)
                told = {key: float(n[place]) for key, n in numbers.items()}
                rows.append([pair, text, words, *_cells(told)])
                ends = _named(table, place[0], "_a") | _named(table, place[1], "_b")
                records.append(ends | {"measure": name, "projection": side} | told)
                used |= told.keys()
    columns = [Column("a – b", "group"), Column("measure", "name"), Column("space", "name")]
    columns += [Column("value"), *_uncertain(used)]
    return Sheet("pairs", "How alike channels are", columns, rows, records, _about(table))


def _kept(table: xr.Dataset) -> tuple[list[int], list[str]]:
    """Return the channels that have rows, by number; of many the last interaction layers."""
    count = table.sizes["channel"]
    if count <= MOST_CHANNELS:
        return list(range(count)), []
    kept = sorted(values.last_channels(table))
    further = left_out_text(channels=count - len(kept))
    return kept, [f"The last interaction layer of each model; {further} (--json shows all pairs)."]


def _rows(table: xr.Dataset, kept: list[int]) -> Iterator[tuple[int, str, str, str]]:
    """Yield number and layer of channels, with each projection and what it is called."""
    layers = values.layer_names(table)
    for i in kept:
        for side, words in values.sides(table).items():
            yield i, layers[i], side, words


def _named(table: xr.Dataset, i: int, end: str = "") -> dict[str, str]:
    """Return model, layer and irrep of a channel, with an end to their names."""
    return {f"{axis}{end}": n for axis, n in zip(OWN, values.channels(table)[i], strict=True)}


def _channel(table: xr.Dataset, i: int) -> str:
    """Return the name of a channel."""
    return f"{values.channels(table)[i][0]} / {values.layer_names(table)[i]}"


def _cells(told: dict[str, float]) -> list[str]:
    """Return a measure, and its interval and p-value where they are known, as texts."""
    cells = [score_text(told["value"]) if np.isfinite(told["value"]) else NONE]
    if "low" in told:
        ends = (told["low"], told["high"])
        known = all(map(np.isfinite, ends))
        cells.append(" to ".join(map(score_text, ends)) if known else NONE)
    if "null" in told:
        cells.append(score_text(told["null"]) if np.isfinite(told["null"]) else NONE)
        p = told["p_adjusted"]
        cells.append(p_text(p) if np.isfinite(p) else NONE)
    return cells


def _uncertain(used: set[str]) -> list[Column]:
    """Return the columns of what is known of uncertainty, as `_cells` fills them."""
    found = [Column("95 % interval")] if "low" in used else []
    return [*found, *([Column("by chance"), Column("adjusted p")] if "null" in used else [])]


def _twins(table: xr.Dataset) -> list[str]:
    """Return a note on channels in which rows coincide, which TwoNN leaves out."""
    if TWINS not in table:
        return []
    most = table[TWINS].max("projection").fillna(0).astype(int).values
    found = [f"{_channel(table, int(i))} ({most[i]:,})" for i in np.flatnonzero(most)]
    told = f"{', '.join(found[:_NAMED])}{' and others' if len(found) > _NAMED else ''}"
    return [f"TwoNN leaves out rows that coincide with another: {told}."] if found else []


def _about(table: xr.Dataset) -> list[str]:
    """Return notes on the measures, and on what chance is."""
    held = values.measures(table)
    notes = []
    far = [OF_PAIRS[name].label for name in held if not OF_PAIRS[name].more_alike]
    if far and table.sizes["channel"] <= FEW:
        notes.append(f"{' and '.join(far)}: less is more alike.")
    if any(f"{name}_null" in table for name in held):
        notes.append(f"Chance: {values.moved_text(table)}; p adjusted by max-T over all pairs.")
        few = values.too_few(table)
        notes += [f"{few[0].upper()}{few[1:]}."] if few else []
    return notes
