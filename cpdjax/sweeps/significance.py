"""Say how sure a sweep's scores are: permutations and bootstrap replicates of every channel.

All are made at the largest size, on the molecules and folds of the first repeat. Every channel sees
the same permutations and the same replicates, so that channels can be compared draw by draw.

p-values are adjusted by max-T unless the settings say otherwise. Its assumption, that one
permutation is the same for all scores of a family, holds for channels and targets alike: every unit
permutes the same rows by the same random seed, whichever process computes it, and `merging` joins
sweeps of the same rows, settings and seed only.

Where rows are atoms, their molecules are what is independent: atoms change places within their
molecule and element only, and the bootstrap draws whole molecules. Where folds keep formulas whole,
it draws whole formulas.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float

from cpdjax.errors import InputError
from cpdjax.sweeps.channels import Channel
from cpdjax.sweeps.probe_kinds import KINDS, ProbeKind
from cpdjax.sweeps.settings import Settings
from cpdjax.sweeps.table import OWN
from cpdjax.sweeps.targets import Targets
from cpdjax.sweeps.units import Work
from cpdjax.uncertainty.bootstrap import Bootstrap
from cpdjax.uncertainty.multiplicity import LEVEL, adjust, max_t, needed, smallest
from cpdjax.uncertainty.permutation import PermutationTest
from cpdjax.uncertainty.resampling import p_values

_SCORE = (*OWN, "alpha", "target")
_DESCRIPTIONS = {
    "null_r2_geom": "r2_geom of permuted targets, mean over folds, largest size, first repeat",
    "p_value": "permutation p-value of r2_geom, largest size, first repeat",
    "p_adjusted": "p_value adjusted for all channels and targets at one alpha",
    "selectivity": "r2_geom less the mean of null_r2_geom",
    "replicate_r2_geom": "r2_geom of molecules drawn anew, mean over folds, largest size, "
    "first repeat",
    "r2_geom_low": "lower end of the 95 % bootstrap interval of r2_geom's mean over folds",
    "r2_geom_high": "upper end of the same interval",
}


class Draws(NamedTuple):
    """Name one channel's permutations, or its replicates: a unit of work."""

    channel: int
    kind: Literal["permutation", "replicate"]

    def name(self, channels: Sequence[Channel]) -> str:
        """Return a name made of what is probed, as the names of a sweep's other units are."""
        return draws_name(channels[self.channel].hash, self.kind)


def draws_name(channel: str, kind: str) -> str:
    """Return the name of a unit of draws, from the hash of its channel."""
    return f"{channel[:16]}-{kind}"


def check(settings: Settings) -> None:
    """Raise InputError where such settings allow no draws."""
    if settings.bootstrap and settings.alphas == "loo":
        raise InputError(
            "bootstrap needs alphas of its own, got 'loo': leave-one-out sees copies of the "
            "molecule that it leaves out; name one, such as 1 (--alphas 1); permutations work with "
            "'loo'"
        )


def check_attainable(
    settings: Settings, targets: Targets, channels: Sequence[Channel] | None = None
) -> None:
    """Raise InputError where Holm or Benjamini-Hochberg can give no p-value of 0.05 or less.

    Before features are extracted, each target counts once. max-T reaches 1 / (1 + P) whatever is
    probed, and the table says so.
    """
    if not settings.permutations or settings.adjust == "max-t":
        return
    scores = len(targets.by_name)
    if channels is not None:
        columns = [y.shape[1] if y.ndim == 2 else 1 for y in targets.by_name.values()]
        scores = sum(columns.count(channel.components) for channel in channels)
    least = smallest(settings.adjust, scores, settings.permutations)
    if least > LEVEL:
        more = " (more with several channels)" if channels is None else ""
        raise InputError(
            f"{settings.permutations:,} permutations and {scores:,} scores{more} give p-values of "
            f"{least:.2g} at least when adjusted by {settings.adjust}: to reach {LEVEL:g}, take "
            f"{needed(settings.adjust, scores):,} permutations{more}, or adjust by max-t, which "
            f"needs {needed('max-t', scores)}"
        )


def units(work: Work) -> list[Draws]:
    """Return all draws that are asked for, channels of one shape one after the other."""
    shapes = [(channel.width, channel.components) for channel in work.channels]
    return [
        Draws(i, kind)
        for i in sorted(range(len(shapes)), key=shapes.__getitem__)
        for kind, count in _asked(work.settings).items()
        if count
    ]


def _asked(settings: Settings) -> dict[Literal["permutation", "replicate"], int]:
    return {"permutation": settings.permutations, "replicate": settings.bootstrap}


def resample(work: Work, unit: Draws) -> dict[str, Any]:
    """Return the scores of one unit: `observed` (alpha, target), and `drawn` for every draw.

    They are computed, or kept from an earlier run.
    """
    name = unit.name(work.channels)
    kept = work.checkpoint.load(name)
    if kept is not None:
        return kept
    scores = _permuted(work, unit) if unit.kind == "permutation" else _replicated(work, unit)
    work.checkpoint.save(name, scores)
    return scores


def _permuted(work: Work, unit: Draws) -> dict[str, np.ndarray]:
    x, rows, kind, options = _first_repeat(work, unit)
    options["groups"] = _of_rows(kind.rows.exchangeable(work.targets, work.settings), rows)
    options["permutations"] = work.settings.permutations
    test = kind.permute(x, work.targets, rows, work.settings, **options)
    scores = {"observed": test.observed, "drawn": test.null}
    return {k: kind.spread(np.asarray(v), work.targets, x) for k, v in scores.items()}


def _replicated(work: Work, unit: Draws) -> dict[str, np.ndarray]:
    x, rows, kind, options = _first_repeat(work, unit)
    options["groups"] = _of_rows(kind.rows.drawn_together(work.targets, work.settings), rows)
    options["replicates"] = work.settings.bootstrap
    found = kind.resample(x, work.targets, rows, work.settings, **options)
    scores = {"observed": found.observed, "drawn": found.replicates}
    return {k: kind.spread(np.asarray(v), work.targets, x) for k, v in scores.items()}


def _first_repeat(work: Work, unit: Draws) -> tuple[np.ndarray, np.ndarray, ProbeKind, dict]:
    """Return a channel, the rows of the largest size, the kind of probe, and its options."""
    largest = work.layout.sizes[-1]
    names = ("alphas", "standardize", "components", "seed", "dtype")
    options = {name: getattr(work.settings, name) for name in names}
    options["folds"] = work.layout.fold_ids(0, largest)
    rows = work.layout.subset(0, largest)
    kind = KINDS[work.settings.probe]
    return work.channels[unit.channel].padded(), rows, kind, options


def _of_rows(labels: np.ndarray | None, rows: np.ndarray) -> np.ndarray | None:
    return None if labels is None else labels[rows]


def attach(
    table: xr.Dataset,
    channels: Sequence[Channel],
    settings: Settings,
    drawn: Mapping[Draws, Mapping[str, Any]],
) -> xr.Dataset:
    """Return the table with p-values and intervals; they are NaN where there is no channel."""
    table = table.copy()
    for kind in dict.fromkeys(unit.kind for unit in drawn):
        parts = {u.channel: part for u, part in drawn.items() if u.kind == kind}
        observed, draws = (_spread(table, channels, parts, k) for k in ("observed", "drawn"))
        draws = np.moveaxis(draws, 3, 0)  # (draw, model, layer, irrep, alpha, target)
        if kind == "permutation":
            _attach_permutations(table, observed, draws, settings.adjust)
        else:
            _attach_replicates(table, observed, draws)
    for name, description in _DESCRIPTIONS.items():
        if name in table:
            table[name].attrs = {"description": description, "units": "1"}
    return table


def _attach_permutations(
    table: xr.Dataset, observed: np.ndarray, null: np.ndarray, method: str
) -> None:
    p_value = p_values(observed, null)
    _put(table, "null_r2_geom", "permutation", null)
    table["p_value"] = (_SCORE, p_value)
    table["p_adjusted"] = (_SCORE, adjusted(p_value, observed, null, method))
    table["selectivity"] = (_SCORE, PermutationTest(observed, null, p_value).selectivity)


def adjusted(
    p_value: Float[np.ndarray, "*channel alpha target"],
    observed: Float[np.ndarray, "*channel alpha target"],
    null: Float[np.ndarray, "permutation *channel alpha target"],
    method: str,
) -> Float[np.ndarray, "*channel alpha target"]:
    """Return p-values adjusted for all channels and targets; every α is a family of its own."""
    by_alpha = [
        max_t(observed[..., a, :], null[..., a, :])
        if method == "max-t"
        else adjust(p_value[..., a, :], "bh" if method == "bh" else "holm")
        for a in range(observed.shape[-2])
    ]
    return np.stack(by_alpha, axis=-2)


def _attach_replicates(table: xr.Dataset, observed: np.ndarray, replicates: np.ndarray) -> None:
    low, high = Bootstrap(observed, replicates).interval()
    _put(table, "replicate_r2_geom", "replicate", replicates)
    table["r2_geom_low"] = (_SCORE, low)
    table["r2_geom_high"] = (_SCORE, high)


def _put(table: xr.Dataset, name: str, axis: str, draws: np.ndarray) -> None:
    table[name] = ((*OWN, axis, "alpha", "target"), np.moveaxis(draws, 0, 3))
    table.coords[axis] = np.arange(len(draws))


def _spread(
    table: xr.Dataset,
    channels: Sequence[Channel],
    parts: Mapping[int, Mapping[str, Any]],
    name: str,
) -> Float[np.ndarray, "model layer irrep *score"]:
    """Return one array that holds the numbers of every channel in its place."""
    first = np.asarray(next(iter(parts.values()))[name])
    full = np.full((*(table.sizes[axis] for axis in OWN), *first.shape), np.nan, first.dtype)
    for i, part in parts.items():
        place = tuple(table.indexes[axis].get_loc(getattr(channels[i], axis)) for axis in OWN)
        full[place] = part[name]
    return full
