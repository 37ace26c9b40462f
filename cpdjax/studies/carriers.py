"""Which molecules carry a score: held-out predictions from the residual, molecule by molecule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import ase
import numpy as np
from jaxtyping import Float, Int

from cpdjax.configuration import checked
from cpdjax.data.structures import Structures
from cpdjax.errors import InputError
from cpdjax.features.sources import collect
from cpdjax.probes.folds import nested
from cpdjax.probes.least_squares import predict_from_composition
from cpdjax.probes.predictions import ResidualPredictions, residual_predictions
from cpdjax.progress import shown, stage
from cpdjax.sweeps import inputs
from cpdjax.sweeps.channels import Channel, whole_layers
from cpdjax.sweeps.pairing import paired
from cpdjax.sweeps.settings import LAST, Settings
from cpdjax.sweeps.targets import Targets

MOST_SCATTERS = 24
"""Limit the pairs of a channel and a target: a page shows each of them to the eye."""


@dataclass(frozen=True)
class Carriers:
    """Hold the molecules, their targets, and what every channel predicts of them."""

    structures: Structures | None
    """The molecules; None where a table brought their formulas alone."""
    targets: Targets
    composition: Float[np.ndarray, "molecule target"]
    """The held-out prediction of least squares from composition."""
    channels: dict[tuple[str, str], ResidualPredictions]
    """What is predicted from every (model, layer), all its irreps together."""
    alpha: float | str
    """The Ridge penalty, or "loo"."""


def carriers(
    features: Any,
    *,
    dataset: str | Path | Structures | Sequence[ase.Atoms] | None = None,
    targets: Any = None,
    n: int | None = None,
    layers: Sequence[str] | None = None,
    folds: int = 5,
    alpha: float | Literal["loo"] = "loo",
    seed: int = 0,
    progress: bool = False,
) -> Carriers:
    """Predict the targets of every molecule from the residual of every model's features.

    The folds are those of the first repeat of `cpdjax.sweep` at its largest size, so that the
    scores are the same.

    Args:
        features, dataset, n, folds, seed: as in `cpdjax.sweep`.
        targets: as in `cpdjax.sweep`; by default the gap of QM9, or all scalars of other data.
        layers: the layers; by default the last interaction layer of every model, or else its last.
        alpha: one Ridge penalty, or "loo".
        progress: whether to report progress on standard error.

    Raises:
        InputError: as `cpdjax.sweep`, and where more is asked for than one page can show.
    """
    if targets is None and inputs.of_qm9(dataset):
        targets = "gap"
    settings = checked(Settings, {"seed": seed, "folds": folds})
    with shown(progress):
        with stage("data"):
            structures, predicted = inputs.load(dataset, targets, n, settings)
        sets = collect(features, structures, layers=[LAST] if layers is None else layers)
        chosen = [
            channel
            for f in sets
            for channel in whole_layers(paired(f, predicted), len(predicted), list(f))
        ]
        _check_room(chosen, predicted)
        ids = _first_folds(len(predicted), folds, seed)
        with stage("probing"):
            found = {
                (c.model, c.layer): residual_predictions(
                    c.x, predicted.counts, predicted.y, folds=ids, alpha=alpha
                )
                for c in chosen
            }
    composition = predict_from_composition(predicted.counts, predicted.y, ids)
    return Carriers(structures, predicted, composition, found, alpha)


def _first_folds(molecules: int, folds: int, seed: int) -> Int[np.ndarray, " molecule"]:
    """Return the fold of every molecule in the first repeat of a sweep of all of them."""
    layout = nested(molecules, [molecules], 1, folds, seed=seed)
    ids = np.empty(molecules, np.int64)
    ids[layout.subset(0, molecules)] = layout.fold_ids(0, molecules)
    return ids


def _check_room(chosen: Sequence[Channel], predicted: Targets) -> None:
    """Refuse more scatters than a page holds."""
    count = len(chosen) * len(predicted.by_name)
    if count > MOST_SCATTERS:
        raise InputError(
            f"{len(chosen)} layers times {len(predicted.by_name)} targets are {count} scatters, "
            f"more than the {MOST_SCATTERS} of one page: name fewer with --targets or --layers"
        )
