"""Objectives against targets: what a network trained on one quantity knows of all the others.

The matrix has a row for each model and a column for each target. Where a model was trained on the
target itself, which a reader must be able to see, the cell is `aligned`. How far such a model is
ahead is asked within its own family, one architecture on one data set, against the mean of its
sisters that were trained on another quantity.

Which targets tell the same says `quantities`: a model that was trained on an energy is no sister
that was trained on another quantity, whatever the temperature. Intervals are over repeats and
folds. They say nothing of how another training run would come out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float

from cpdjax import models
from cpdjax.errors import InputError
from cpdjax.features.layer_names import LAST
from cpdjax.models.cards import card_of
from cpdjax.studies.quantities import in_order, same_quantity, same_target
from cpdjax.sweeps.table import last_interaction, layers_of, models_of, scores_of
from cpdjax.uncertainty.comparison import estimate


@dataclass(frozen=True)
class Objective:
    """Say what a model was trained on; `target` is empty where nobody has said, or untrained."""

    model: str
    family: str
    target: str

    def is_of(self, target: str) -> bool:
        """Return whether the model was trained on this target, free atoms subtracted or not."""
        return same_target(self.target, target)

    def is_other_than(self, target: str) -> bool:
        """Return whether the model was trained, and on another quantity than this target."""
        return self.target != "" and not same_quantity(self.target, target)


def objectives_of(names: Iterable[str | Path]) -> list[Objective]:
    """Return what models were trained on, by their own records (`Encoder.target`).

    Args:
        names: names of models of cpdjax, or folders of saved models and of training runs.

    Raises:
        UnknownNameError: there is no such model.

    >>> objectives_of(["schnet-qm9-energy"])
    [Objective(model='schnet-qm9-energy', family='schnet', target='u0_atom')]
    """
    found = []
    for name in names:
        model: Any = models.load(name)
        found.append(Objective(model.name, card_of(name).family, getattr(model, "target", "")))
    return found


def matrix(
    table: xr.Dataset, objectives: Sequence[Objective], *, layer: str = LAST
) -> pd.DataFrame:
    """Return R²_geom of every model and target, at the largest size and the first α.

    Args:
        table: results of `sweep` with these models.
        objectives: what they were trained on; the rows are in this order.
        layer: the name of a layer, or "last": the last interaction layer of each model.

    Returns:
        A row for each model and target: `family`, `model`, `objective`, `layer`, `target`,
        `r2_geom` with its 95 % interval `low` and `high`, `r2_comp` of the target, and `aligned`.

    Raises:
        InputError: the results lack one of the models, or its layer.
    """
    rows = [
        {
            "family": one.family,
            "model": one.model,
            "objective": one.target,
            "layer": place[0],
            "target": target,
            **_interval("r2_geom", scores_of(table, one.model, *place, target)),
            "r2_comp": _r2_comp(table, target),
            "aligned": one.is_of(target),
        }
        for one, place in _places(table, objectives, layer)
        for target in in_order(map(str, table.target.values))
    ]
    return pd.DataFrame(rows)


def ahead(table: xr.Dataset, objectives: Sequence[Objective], *, layer: str = LAST) -> pd.DataFrame:
    """Return how far the model trained on a target is ahead of its sisters' mean.

    The mean is over the models of its family that were trained on another quantity, and the
    interval that of paired differences (see `uncertainty.comparison.compare`).

    Returns:
        A row for each family and target that has an aligned model and such sisters: `family`,
        `target`, `model`, `others` (how many), `difference`, `low`, `high`, `p_value`, `r2_comp`.

    Raises:
        InputError: the results lack one of the models, or its layer.
    """
    places = list(_places(table, objectives, layer))
    rows = []
    for target in in_order(map(str, table.target.values)):
        scores = {one: scores_of(table, one.model, *place, target) for one, place in places}
        for one in (one for one in scores if one.is_of(target)):
            others = [
                theirs
                for other, theirs in scores.items()
                if other.family == one.family and other.is_other_than(target)
            ]
            if not others:
                continue
            difference = scores[one] - np.mean(others, axis=0)
            row: dict[str, Any] = {"family": one.family, "target": target, "model": one.model}
            row |= {"others": len(others), **_interval("difference", difference)}
            p_value = estimate(difference).p_value
            rows.append(row | {"p_value": p_value, "r2_comp": _r2_comp(table, target)})
    return pd.DataFrame(rows)


def _places(
    table: xr.Dataset, objectives: Sequence[Objective], layer: str
) -> Iterator[tuple[Objective, tuple[str, str]]]:
    """Yield every model with the layer and irrep that is looked at."""
    known = models_of(table)
    for one in objectives:
        if one.model not in known:
            raise InputError(
                f"the results have no model {one.model!r}, they have {', '.join(known)}: sweep it, "
                "or leave it out"
            )
        if layer == LAST:
            yield one, last_interaction(table, one.model)
        elif layer in (own := layers_of(table, one.model)):
            yield one, (layer, own[layer])
        else:
            raise InputError(f"{one.model} has no layer {layer!r}, it has {', '.join(own)}")


def _interval(name: str, scores: Float[np.ndarray, "repeat fold"]) -> dict[str, float]:
    found = estimate(scores)
    return {name: found.value, "low": found.low, "high": found.high}


def _r2_comp(table: xr.Dataset, target: str) -> float:
    """Return the mean R² of composition alone, at the largest size."""
    return float(table.r2_comp.sel(target=target).isel(size=-1).mean())
