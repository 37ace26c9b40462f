"""Uncertainty of a sweep's scores: permutations and replicates of every channel.

All at the largest size, on the molecules and folds of the first repeat. Every channel sees the
same permutations and the same replicates, so that channels can be compared draw by draw.

Where rows are atoms, their molecules are what is independent: atoms change places within their
molecule and element, and the bootstrap draws whole molecules. With folds by formula it draws whole
formulas.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float

from cpdjax.errors import InputError
from cpdjax.probes.folds import Layout
from cpdjax.sweeps.channels import Channel
from cpdjax.sweeps.checkpoint import Checkpoint
from cpdjax.sweeps.settings import Settings
from cpdjax.sweeps.targets import Targets, fitting
from cpdjax.sweeps.targets import spread_over_targets as in_place
from cpdjax.uncertainty.bootstrap import Bootstrap, bootstrap
from cpdjax.uncertainty.equivariant_resampling import (
    equivariant_bootstrap,
    equivariant_permutation_test,
)
from cpdjax.uncertainty.multiplicity import adjust, max_t
from cpdjax.uncertainty.permutation import PermutationTest, permutation_test
from cpdjax.uncertainty.resampling import p_values

Kind = Literal["permutation", "replicate"]

_OWN = ("model", "layer", "irrep")
_SCORE = (*_OWN, "alpha", "target")
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
    """One channel's permutations, or its replicates: a unit of work."""

    channel: int
    kind: Kind

    def name(self, found: Sequence[Channel]) -> str:
        """From what is probed, as the names of a sweep's other units."""
        return f"{found[self.channel].hash[:16]}-{self.kind}"


def check(settings: Settings) -> None:
    """Raise InputError where there are no draws for such settings."""
    if settings.bootstrap and settings.alphas == "loo":
        raise InputError(
            "bootstrap needs alphas of its own, got 'loo': leave-one-out sees copies of the "
            "molecule that it leaves out; permutations do with it"
        )


def units(found: Sequence[Channel], settings: Settings) -> list[Draws]:
    """All draws that the settings ask for; the first two are of both kinds and compile together."""
    asked: dict[Kind, int] = {
        "permutation": settings.permutations,
        "replicate": settings.bootstrap,
    }
    return [Draws(i, kind) for i in range(len(found)) for kind, count in asked.items() if count]


def draw(
    found: Sequence[Channel],
    molecules: Targets,
    layout: Layout,
    settings: Settings,
    checkpoint: Checkpoint,
    unit: Draws,
) -> dict[str, Any]:
    """The scores of one unit's draws: `observed` (alpha, target) and `drawn`, draw by draw."""
    name = unit.name(found)
    kept = checkpoint.load(name)
    if kept is not None:
        return kept
    scores = _drawn(found[unit.channel].padded(), molecules, layout, settings, unit.kind)
    checkpoint.save(name, scores)
    return scores


def _drawn(
    x: np.ndarray, molecules: Targets, layout: Layout, settings: Settings, kind: Kind
) -> dict[str, np.ndarray]:
    rows, ids = (f(0, layout.sizes[-1]) for f in (layout.subset, layout.fold_ids))
    names = ("alphas", "standardize", "seed", "dtype")
    options: dict[str, Any] = {"folds": ids} | {name: getattr(settings, name) for name in names}
    width = x.shape[-1]
    if settings.equivariant:
        data: tuple[np.ndarray, ...] = (x[rows], fitting(molecules, width)[rows])
    else:
        data = (x[rows], molecules.counts[rows], molecules.y[rows])
        options["projection"] = settings.projection
    if kind == "permutation":
        options["groups"] = _exchangeable(molecules, settings, rows)
        options["permutations"] = settings.permutations
        test = (
            equivariant_permutation_test(*data, frames=molecules.owner[rows], **options)
            if settings.equivariant
            else permutation_test(*data, scheme=settings.scheme, **options)
        )
        scores = {"observed": test.observed, "drawn": test.null}
    else:
        options["groups"] = _drawn_whole(molecules, settings, rows)
        replicate = equivariant_bootstrap if settings.equivariant else bootstrap
        sample = replicate(*data, replicates=settings.bootstrap, **options)
        scores = {"observed": sample.observed, "drawn": sample.replicates}
    arrays = {name: np.asarray(values) for name, values in scores.items()}
    if not settings.equivariant:
        return arrays
    return {name: in_place(values, molecules, width) for name, values in arrays.items()}


def _exchangeable(molecules: Targets, settings: Settings, rows: np.ndarray) -> np.ndarray | None:
    """Labels of the rows among which targets may be permuted; None: among all."""
    if settings.per_atom:
        element = molecules.counts.argmax(1)
        return (molecules.owner * molecules.counts.shape[1] + element)[rows]
    return molecules.formulas[rows] if settings.permute_within == "formula" else None


def _drawn_whole(molecules: Targets, settings: Settings, rows: np.ndarray) -> np.ndarray | None:
    """Labels of the rows that are drawn together; None: every row by itself."""
    if settings.group_by == "formula":
        return molecules.formulas[molecules.owner[rows]]
    return molecules.owner[rows] if settings.per_atom else None


def attach(
    table: xr.Dataset,
    found: Sequence[Channel],
    settings: Settings,
    drawn: Mapping[Draws, Mapping[str, Any]],
) -> xr.Dataset:
    """The table with the variables that the draws allow; NaN where there is no such channel."""
    table = table.copy()
    for kind in dict.fromkeys(unit.kind for unit in drawn):
        parts = {u.channel: part for u, part in drawn.items() if u.kind == kind}
        observed, draws = (_spread(table, found, parts, k) for k in ("observed", "drawn"))
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
    family = range(observed.shape[-2])  # a family for every α
    adjusted = [
        max_t(observed[..., a, :], null[..., a, :])
        if method == "max-t"
        else adjust(p_value[..., a, :], "bh" if method == "bh" else "holm")
        for a in family
    ]
    _put(table, "null_r2_geom", "permutation", null)
    table["p_value"] = (_SCORE, p_value)
    table["p_adjusted"] = (_SCORE, np.stack(adjusted, axis=-2))
    table["selectivity"] = (_SCORE, PermutationTest(observed, null, p_value).selectivity)


def _attach_replicates(table: xr.Dataset, observed: np.ndarray, replicates: np.ndarray) -> None:
    low, high = Bootstrap(observed, replicates).interval()
    _put(table, "replicate_r2_geom", "replicate", replicates)
    table["r2_geom_low"] = (_SCORE, low)
    table["r2_geom_high"] = (_SCORE, high)


def _put(table: xr.Dataset, name: str, axis: str, draws: np.ndarray) -> None:
    table[name] = ((*_OWN, axis, "alpha", "target"), np.moveaxis(draws, 0, 3))
    table.coords[axis] = np.arange(len(draws))


def _spread(
    table: xr.Dataset, found: Sequence[Channel], parts: Mapping[int, Mapping[str, Any]], name: str
) -> Float[np.ndarray, "model layer irrep *score"]:
    """One array of every channel in its place."""
    first = np.asarray(next(iter(parts.values()))[name])
    full = np.full((*(table.sizes[axis] for axis in _OWN), *first.shape), np.nan, first.dtype)
    for i, part in parts.items():
        place = tuple(table.indexes[axis].get_loc(getattr(found[i], axis)) for axis in _OWN)
        full[place] = part[name]
    return full
