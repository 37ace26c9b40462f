"""Pairs of models of one architecture that differ in the data they were trained on.

Every model here is one training run. Two runs on the same data differ too, which intervals over
molecules and folds cannot see: a difference below 0.03 or so may be the seed's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float

from cpdjax.errors import UnknownNameError
from cpdjax.sweeps.settings import LAST
from cpdjax.sweeps.table import last_interaction, layers_of, models_of, scores_of
from cpdjax.uncertainty.comparison import Estimate, compare


class Pair(NamedTuple):
    """Hold two models, the one with less diverse data first, and in what they differ."""

    narrow: str
    diverse: str
    differ: str


PAIRS = (
    Pair("chgnet-0.3.0", "chgnet-r2scan", "MPTraj by PBE(+U) against the same, then r²SCAN"),
    Pair("nequix-mp-1", "nequix-omat-1", "MPTraj against OMat24"),
    Pair("nequix-mp-1", "nequix-oam-1", "MPTraj against OMat24, then sAlex and MPTraj"),
    Pair("nequix-omat-1", "nequix-oam-1", "OMat24 against the same, then sAlex and MPTraj"),
    Pair("nequix-mp-1", "nequix-mp-1-pft", "MPTraj against the same, then phonons beside it"),
    Pair("nequix-mp-1", "nequix-mp-1-pft-nocotrain", "MPTraj against the same, then phonons alone"),
    Pair("nequix-oam-1", "nequix-oam-1-pft", "OMat24, sAlex, MPTraj against these, then phonons"),
)
"""Pairs whose weights are public. Those of Nequix come from github.com/atomicarchitects/nequix."""


def pairs_by_data(
    table: xr.Dataset, pairs: Sequence[tuple[str, str]], target: str, *, layer: str = LAST
) -> list[tuple[str, str, Estimate]]:
    """Return R²_geom of the second model of each pair less that of the first, on the same folds.

    Args:
        table: results of `sweep`, whose models share molecules and folds.
        pairs: names of two models each, such as the first two fields of `PAIRS`.
        target: the name of a target.
        layer: a layer that both models of every pair have, all of its scalars together; or "last":
            the last interaction of each.

    Returns:
        The two names and the difference with its corrected resampled t interval (see
        `cpdjax.compare`), at the largest size and the first α.

    Raises:
        UnknownNameError: the table lacks a model, the target or the layer.
    """

    def scores(model: str) -> Float[np.ndarray, "repeat fold"]:
        if model not in models:
            raise UnknownNameError("model", model, models)
        found = layers_of(table, model)
        if layer not in (LAST, *found):
            raise UnknownNameError(f"layer of {model}", layer, [LAST, *found])
        place = last_interaction(table, model) if layer == LAST else (layer, found[layer])
        return scores_of(table, model, *place, target)

    models, targets = models_of(table), [str(name) for name in table.target.values]
    if target not in targets:
        raise UnknownNameError("target", target, targets)
    return [(a, b, compare(scores(b), scores(a))) for a, b in pairs]
