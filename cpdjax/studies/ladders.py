"""Climb the ladder with several models on the same molecules and folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cpdjax.configuration import names_in
from cpdjax.data.bonds import bond_counts, group_counts
from cpdjax.data.structures import Structures
from cpdjax.features.layer_names import LAST
from cpdjax.features.sources import collect
from cpdjax.models.naming import CONTROLS
from cpdjax.probes.ladder import Ladder, ladder
from cpdjax.progress import expect, stage
from cpdjax.sweeps import inputs
from cpdjax.sweeps.pairing import paired
from cpdjax.sweeps.settings import ALL, DEFAULT_FEATURES
from cpdjax.sweeps.targets import Targets


@dataclass(frozen=True)
class Ladders:
    """Hold the ladders of models, and what they were made of."""

    models: Mapping[str, Ladder]
    layers: Mapping[str, str]
    """The layer of every model."""
    units: Mapping[str, str]
    """The units of the targets, by name."""
    dataset: str
    molecules: int


def ladders(
    models: Sequence[str] | Literal["all"],
    *,
    dataset: str | Path | Structures = "qm9",
    layer: str | None = None,
    targets: Sequence[str] | None = None,
    n: int | None = None,
    folds: int = 5,
    alpha: float | Literal["loo"] = "loo",
    seed: int = 0,
) -> Ladders:
    """Measure what composition, bonds, functional groups and the geometry of each model add.

    Args:
        models: names of models, in a list or separated by commas, or "all": those of the default
            sweep, and the controls.
        dataset: as in `cpdjax.sweep`, with SMILES.
        layer: the layer of every model, or "last"; by default the very last of a single model, and
            the last interaction layer of several.
        targets: names of targets, given in the same way; by default all scalars.
        n, seed: how many molecules are drawn from QM9, and the random seed of draw and folds.
        folds, alpha: as in `cpdjax.ladder`.

    Raises:
        InputError: RDKit is not installed, the structures have no SMILES, a model cannot take them.
        UnknownNameError: there is no such model, layer or target.
    """
    names = [*DEFAULT_FEATURES, *CONTROLS] if models == ALL else names_in(models)
    wanted = layer or (LAST if len(names) > 1 else None)
    expect(3 + 2 * len(names))
    with stage("data"):
        structures = inputs.molecules(dataset, n if inputs.of_qm9(dataset) else None, seed)
    with stage("counting bonds and groups"):
        rungs = {
            "bonds and rings": bond_counts(structures)[0],
            "functional groups": group_counts(structures)[0],
        }
    rungs = {name: counts for name, counts in rungs.items() if counts.size}
    wanted_targets = None if targets is None else names_in(targets, structures.targets)
    predicted = Targets.from_structures(structures, wanted_targets)
    found, layers = {}, {}
    for features in collect(names, structures, layers=None if wanted is None else [wanted]):
        features = paired(features, predicted)
        name, last = features.model, list(features)[-1]
        with stage(f"probing {name}"):
            rest: dict[str, Any] = {"folds": folds, "alpha": alpha, "seed": seed}
            x, y = features.scalars(last), predicted.y
            found[name] = ladder(x, predicted.counts, y, rungs, **rest)
        layers[name] = last
    units = {name: predicted.units[name] for name in predicted.by_name}
    return Ladders(found, layers, units, structures.name, len(structures))
