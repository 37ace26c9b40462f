"""What models of crystals know beyond composition: R²_comp beside R²_geom, by data and target.

Composition is the fraction of each element, so that a cell and its double are one crystal. Where
all crystals have one composition, R²_comp is that of the mean (0 but for the draw), and R²_geom is
all that a model knows of the target.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from cpdjax.data.composition import composition
from cpdjax.data.structures import Structures
from cpdjax.errors import InputError
from cpdjax.features.features import Features
from cpdjax.features.layer_names import LAST, called
from cpdjax.irreps import invariants
from cpdjax.probes.cpd import cpd
from cpdjax.sweeps.table import highest
from cpdjax.uncertainty.comparison import Estimate, estimate

Alpha = float | Literal["loo"]


@dataclass(frozen=True)
class Probed:
    """Hold the scores of one layer of one model for one target."""

    data: str
    target: str
    model: str
    pick: str
    """How the layer was chosen: "last", or "best" on other crystals than it is scored on."""
    layer: str
    features: int
    r2_comp: Estimate
    r2_geom: Estimate
    r2_full: Estimate


def study(
    structures: Structures,
    features: Sequence[Features],
    targets: Sequence[str],
    *,
    others: tuple[Structures, Sequence[Features]],
    alpha: Alpha = "loo",
    repeats: int = 5,
    folds: int = 5,
) -> list[Probed]:
    """Return the scores of every model's last layer, and of the layer that is best elsewhere.

    Args:
        structures: the crystals that are scored.
        features: pooled features of these crystals, a model each.
        targets: names of their targets.
        others: other crystals and the same models' features of them, on which the best layer of
            each model and target is chosen by R²_geom.
        alpha: a Ridge penalty, or "loo".
        repeats, folds: how often crystals are divided anew, and into how many folds.

    Raises:
        InputError: features are not those of the crystals, or the two sets share a crystal.
    """
    elsewhere, theirs = others
    shared = set(structures.ids.tolist()) & set(elsewhere.ids.tolist())
    if structures.has_names and shared:
        raise InputError(
            f"the layer would be chosen on {len(shared)} of the crystals that it is scored on, the "
            f"first {min(shared)!r}: give other crystals"
        )
    rows = []
    for own, other in zip(features, theirs, strict=True):
        for target in targets:
            chosen = {
                "last": called(LAST, list(own)),
                "best": _best(elsewhere, other, target, alpha),
            }
            for pick, layer in chosen.items():
                scores = _scores(structures, own, layer, target, alpha, repeats, folds)
                width = invariants(own[layer]).shape[1]
                rows.append(Probed(structures.name, target, own.model, pick, layer, width, *scores))
    return rows


def _best(structures: Structures, features: Features, target: str, alpha: Alpha) -> str:
    """Return the layer with the highest mean R²_geom."""
    layers = list(features)
    found = [_scores(structures, features, at, target, alpha, 1, 5)[1].value for at in layers]
    return layers[int(highest(np.array(found)))]


def _scores(
    structures: Structures,
    features: Features,
    layer: str,
    target: str,
    alpha: Alpha,
    repeats: int,
    folds: int,
) -> tuple[Estimate, Estimate, Estimate]:
    """Return R²_comp, R²_geom and R²_full with corrected resampled intervals."""
    if features.structures_hash != structures.geometry_hash:
        raise InputError(f"features of {features.model} are not those of {structures.name!r}")
    x, y = invariants(features[layer]), structures.target(target)
    fractions = composition(structures, fractions=True)
    found = [cpd(x, fractions, y, folds=folds, alphas=alpha, seed=seed) for seed in range(repeats)]
    by_kind: dict[str, Float[np.ndarray, "repeat fold"]] = {
        kind: np.stack([np.asarray(getattr(one, kind)).reshape(folds) for one in found])
        for kind in ("r2_comp", "r2_geom", "r2_full")
    }
    comp, geom, full = (estimate(scores) for scores in by_kind.values())
    return comp, geom, full


def records(rows: Sequence[Probed]) -> list[Mapping[str, str | int]]:
    """Return the rows as a table has them, scores with three decimals and their 95 % intervals."""
    return [
        {
            "data": row.data,
            "target": row.target,
            "model": row.model,
            "pick": row.pick,
            "layer": row.layer,
            "features": row.features,
            **{
                f"{kind}{end}": f"{getattr(getattr(row, kind), part):.3f}"
                for kind in ("r2_comp", "r2_geom", "r2_full")
                for end, part in (("", "value"), ("_low", "low"), ("_high", "high"))
            },
        }
        for row in rows
    ]
