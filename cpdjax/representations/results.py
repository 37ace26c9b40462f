"""Results of a comparison are one `xarray.Dataset` in the project's vocabulary, with provenance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float

from cpdjax.likeness.draws import interval
from cpdjax.likeness.measures import OF_CHANNELS, OF_PAIRS
from cpdjax.representations.groups import comparable
from cpdjax.representations.observed import Measured
from cpdjax.representations.parts import TWINS, Matrices
from cpdjax.representations.settings import SpaceSettings
from cpdjax.sweeps import results
from cpdjax.sweeps.channels import Channel
from cpdjax.sweeps.checkpoint import Kind
from cpdjax.sweeps.table import OWN
from cpdjax.uncertainty.multiplicity import max_t
from cpdjax.uncertainty.resampling import p_values

SPACES = Kind("comparison of spaces", "spaces.json", "spaces")
"""Say what the folder of a comparison holds."""

_PAIR = ("projection", "channel_a", "channel_b")
_OF_DRAWS = {
    "low": "lower end of the 95 % bootstrap interval of {}",
    "high": "upper end of the 95 % bootstrap interval of {}",
    "null": "{} by chance: mean over permutations of b's rows",
    "p": "permutation p-value of {}",
    "p_adjusted": "the same adjusted for all pairs of one projection by max-t",
}


class _Frame(NamedTuple):
    """Hold the axes that all results of a comparison share."""

    channels: Sequence[Channel]
    projections: Sequence[str]

    def spread(self, found: Sequence[Measured], given: Sequence[Any], pairs: bool) -> np.ndarray:
        """Put what is given for each group in its place (*draw, projection, channel…); else NaN."""
        n, axes = len(self.channels), 2 if pairs else 1
        draws = given[0].ndim - axes
        full = np.full((*given[0].shape[:draws], len(self.projections), *[n] * axes), np.nan)
        for m, values in zip(found, given, strict=True):
            own = np.ix_(*[m.group.places] * axes)
            place: Any = (..., self.projections.index(m.group.projection), *own)
            full[place] = values
        return np.where(comparable(self.channels), full, np.nan) if pairs else full


def assemble(
    channels: Sequence[Channel],
    settings: SpaceSettings,
    found: Sequence[Measured],
    nulls: Sequence[Sequence[Matrices]],
    facts: Mapping[str, Any],
) -> xr.Dataset:
    """Put measures, intervals and p-values of all groups in their places.

    Channels that cannot be compared with each other are NaN, and so is what a projection leaves
    nothing of.
    """
    frame = _Frame(channels, settings.projections)
    data: dict[str, Any] = {"n_features": ("channel", [c.n_features for c in channels])}
    for name in settings.wanted:
        pairs = name in OF_PAIRS
        axes = _PAIR if pairs else ("projection", "channel")
        values = [m.values[name] for m in found]
        if name == "r2":
            by_fold = [np.moveaxis(v, -1, 0) for v in values]
            whole = np.moveaxis(frame.spread(found, by_fold, pairs), 0, -1)
            data[name] = ((*axes, "fold"), whole)
        else:
            data[name] = (axes, frame.spread(found, values, pairs))
        if settings.bootstrap:
            drawn = frame.spread(found, [_score(name, m.replicates) for m in found], pairs)
            data[f"{name}_low"], data[f"{name}_high"] = ((axes, end) for end in interval(drawn))
        if settings.permutations and pairs:
            chance = [_chance(name, draws) for draws in nulls]
            scores = frame.spread(found, [_score(name, m.values) for m in found], pairs)
            tested = _tested(name, scores, frame.spread(found, chance, pairs))
            data |= {f"{name}_{what}": (axes, values) for what, values in tested.items()}
    if "intrinsic_dimension" in settings.wanted:
        twins = frame.spread(found, [m.values[TWINS] for m in found], pairs=False)
        data[TWINS] = (("projection", "channel"), twins)
    table = xr.Dataset(data, _coordinates(channels, settings), attrs=results.attributes(facts))
    return _described(table)


def _score(name: str, values: Matrices) -> np.ndarray:
    """Return a measure without an axis of folds."""
    return values[name].mean(-1) if name == "r2" else values[name]


def _chance(name: str, draws: Sequence[Matrices]) -> Float[np.ndarray, "permutation a b"]:
    """Return a measure under every permutation; what is symmetric takes one draw for both ways."""
    null = np.stack([_score(name, matrices) for matrices in draws])
    if OF_PAIRS[name].directed:
        return null
    return np.triu(null) + np.triu(null, 1).swapaxes(1, 2)


def _tested(
    name: str,
    scores: Float[np.ndarray, "projection a b"],
    null: Float[np.ndarray, "permutation projection a b"],
) -> dict[str, np.ndarray]:
    """Return the mean by chance and p-values; a channel beside itself is no test."""
    sign = 1 if OF_PAIRS[name].more_alike else -1
    tested = sign * np.where(np.eye(scores.shape[-1], dtype=bool), np.nan, scores)
    adjusted = [max_t(tested[i], sign * null[:, i]) for i in range(len(tested))]
    return {
        "null": null.mean(0),
        "p": p_values(tested, sign * null),
        "p_adjusted": np.stack(adjusted),
    }


def _coordinates(channels: Sequence[Channel], settings: SpaceSettings) -> dict[str, Any]:
    labels = [c.label for c in channels]
    found: dict[str, Any] = {"projection": settings.projections}
    for end in ("", "_a", "_b"):
        found[f"channel{end}"] = labels
        for axis in OWN:
            found[f"{axis}{end}"] = (f"channel{end}", [getattr(c, axis) for c in channels])
    return found | {"fold": np.arange(settings.folds)}


def _described(table: xr.Dataset) -> xr.Dataset:
    """Return results whose variables say what they are."""
    for name, measure in (OF_PAIRS | OF_CHANNELS).items():
        for end, text in {"": measure.description}.items() | _OF_DRAWS.items():
            variable = f"{name}_{end}" if end else name
            if variable in table:
                told = text.format(measure.label)
                table[variable].attrs = {"description": told, "units": "1"}
    others = {
        "n_features": "columns of the channel",
        TWINS: "rows with another at distance 0, which TwoNN leaves out",
    }
    for name in others.keys() & set(table):
        table[name].attrs = {"description": others[name], "units": "1"}
    return table


def save(table: xr.Dataset, path: str | Path) -> Path:
    """Write results to `.zarr`, `.nc` or `.csv`, as `sweeps.results.save` does."""
    return results.save(table, path, to_long)


def holds(path: str | Path) -> bool:
    """Return whether a path is that of a comparison's results, or a folder with some."""
    return results.holds(path, SPACES)


def load(path: str | Path) -> xr.Dataset:
    """Read results from a `.zarr`, a `.nc`, or the folder of a comparison.

    Raises:
        FileError: they are missing, unreadable, truncated, damaged, or of something else.
    """
    return results.read(path, SPACES, {"n_features"})


def to_long(table: xr.Dataset) -> pd.DataFrame:
    """Return one row for every measure of every pair, or channel, R² as its mean over folds."""
    frames = []
    for name in (*OF_PAIRS, *OF_CHANNELS):
        if name in table:
            value = table[name].mean("fold", skipna=False) if name == "r2" else table[name]
            beside = {e: table[f"{name}_{e}"] for e in _OF_DRAWS if f"{name}_{e}" in table}
            frame = xr.Dataset({"value": value, **beside}).to_dataframe().reset_index()
            names = {} if name in OF_PAIRS else {axis: f"{axis}_a" for axis in OWN}
            frames.append(frame.rename(columns=names).assign(measure=name))
    first = ["projection", "measure", *(f"{axis}{end}" for end in ("_a", "_b") for axis in OWN)]
    whole = pd.concat(frames, ignore_index=True)
    return whole[[*first, *(c for c in ("value", *_OF_DRAWS) if c in whole)]].dropna(subset="value")
