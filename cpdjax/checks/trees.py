"""Boosted trees on the residual of several models, for one target that composition decides.

The target is linear in the counts of the elements, so a linear probe on the residual of CPD must
score as the training mean does, whatever the model. What trees score is composition that the
projection has left (see `nonlinear`), and no geometry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from cpdjax.checks import mlp
from cpdjax.checks.compositional import FOLD_KINDS, LINEAR, compositional_targets
from cpdjax.checks.nonlinear import scores_of
from cpdjax.checks.nonlinear_probes import make_probes
from cpdjax.errors import InputError, UnknownNameError
from cpdjax.probes.folds import group_folds, kfold
from cpdjax.probes.r2 import r2_of_training_mean

PROBES = ("ridge", "trees")
TARGET = "heavy atoms"
"""The target by default (our choice: the paper does not name its own)."""


@dataclass(frozen=True)
class Trees:
    """Hold R² of Ridge and of boosted trees on the linear residual of every model."""

    models: tuple[str, ...]
    target: str
    r2: Float[np.ndarray, "model probe kind fold"]
    """Probes are `PROBES`, kinds of folds are `compositional.FOLD_KINDS`."""
    r2_mean: Float[np.ndarray, "kind fold"]
    """R² of predicting the mean of the training rows, which is what linear probes must score."""

    def of(self, probe: str, kind: str = FOLD_KINDS[0]) -> Float[np.ndarray, " model"]:
        """Return the median over folds of one probe in one kind of folds, model by model."""
        return np.nanmedian(self.r2[:, PROBES.index(probe), FOLD_KINDS.index(kind)], axis=-1)


def check_trees(
    features: Mapping[str, Float[np.ndarray, "molecule feature"]],
    C: Float[np.ndarray, "molecule element"],
    formulas: np.ndarray,
    elements: tuple[str, ...],
    *,
    target: str = TARGET,
    folds: int = 5,
    seed: int = 0,
) -> Trees:
    """Score Ridge and trees on one compositional target for every model, on the same folds.

    Both see the residual of each fold as `check_nonlinear` makes it. Trees are scikit-learn's
    HistGradientBoostingRegressor with its default settings.

    Args:
        features: the features of every model by its name.
        target: "heavy atoms" or "random linear": see `compositional.compositional_targets`.

    Raises:
        UnknownNameError: there is no such target.
        InputError: there are no models, features have other rows, the target is the same for all
            molecules, or scikit-learn is not installed.
    """
    if target not in LINEAR:
        raise UnknownNameError("target linear in the counts", target, LINEAR)
    if not features:
        raise InputError("trees need the features of one model at least, got none")
    for name, X in features.items():
        if np.ndim(X) != 2 or len(X) != len(C):
            raise InputError(
                f"features of {name!r} must have axes (molecule, feature) with {len(C)} molecules, "
                f"got shape {np.shape(X)}"
            )
    made = compositional_targets(C, elements, seed=seed)
    if target not in made:
        raise InputError(f"trees need molecules that differ in {target}")
    y = made[target][:, None]
    y = (y - y.mean(0)) / y.std(0)
    both_ids = (kfold(len(y), folds, seed=seed), group_folds(formulas, folds, seed=seed))
    known = make_probes(1, seed, mlp.TRAINING)
    probes = {name: known[name] for name in PROBES}
    r2 = [
        [scores_of(probes, X, C, formulas, y, ids, ("linear",))[:, 0, :, 0] for ids in both_ids]
        for X in features.values()
    ]  # model, kind, probe, fold
    means = np.stack([r2_of_training_mean(y, ids)[:, 0] for ids in both_ids])
    return Trees(tuple(features), target, np.array(r2).swapaxes(1, 2), means)
