"""Three ways to take composition out of features: the right one, and two that mislead.

A check that tests `projection_per_fold` can test any function of the same signature, including
someone else's implementation of the method.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from cpdjax.probes.cpd import cpd
from cpdjax.probes.least_squares import beyond_rounding, residual

Alpha = float | Literal["loo"]

#: (X, C, Y, fold ids, α) → R² with axes (fold, target).
Procedure = Callable[
    [
        Float[np.ndarray, "molecule feature"],
        Float[np.ndarray, "molecule element"],
        Float[np.ndarray, "molecule target"],
        Int[np.ndarray, " molecule"],
        Alpha,
    ],
    Float[np.ndarray, "fold target"],
]


def projection_per_fold(
    X: np.ndarray, C: np.ndarray, Y: np.ndarray, ids: np.ndarray, alpha: Alpha
) -> Float[np.ndarray, "fold target"]:
    """Return R² of CPD, whose projection is fitted on the training rows of each fold."""
    return np.asarray(cpd(X, C, Y, folds=ids, alphas=alpha).r2_geom)[:, 0]


def projection_on_all_rows(
    X: np.ndarray, C: np.ndarray, Y: np.ndarray, ids: np.ndarray, alpha: Alpha
) -> Float[np.ndarray, "fold target"]:
    """Return R² with a leak: one projection is fitted on all rows before they are split.

    A feature that composition explains but for rounding drops out, as it does in `cpd`, so that
    the leak is the only fault.
    """
    left = residual(X, C)
    return raw_features(np.where(beyond_rounding(left, X), left, 0), C, Y, ids, alpha)


def raw_features(
    X: np.ndarray, C: np.ndarray, Y: np.ndarray, ids: np.ndarray, alpha: Alpha
) -> Float[np.ndarray, "fold target"]:
    """Return R² of Ridge from the features as they are, without any projection."""
    return np.asarray(cpd(X, C, Y, folds=ids, alphas=alpha).r2_full)[:, 0]
