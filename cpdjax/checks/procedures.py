"""Three ways to take composition out of features: the right one, and two that mislead.

What a check asks of `in_fold` it can ask of any function of the same signature, someone else's
implementation of the method included.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from cpdjax.probes.cpd import cpd

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


def in_fold(
    X: np.ndarray, C: np.ndarray, Y: np.ndarray, ids: np.ndarray, alpha: Alpha
) -> Float[np.ndarray, "fold target"]:
    """CPD: the projection is fitted on the training rows of each fold."""
    return np.asarray(cpd(X, C, Y, folds=ids, alphas=alpha).r2_geom)[:, 0]


def all_rows(
    X: np.ndarray, C: np.ndarray, Y: np.ndarray, ids: np.ndarray, alpha: Alpha
) -> Float[np.ndarray, "fold target"]:
    """The leak: one projection, fitted on all rows before they are split.

    What composition explains but for rounding drops out, as in `cpd`: the leak is the only fault.
    """
    left = residual(X, C)
    kept = left.var(0) > np.finfo(np.float64).eps ** 0.75 * X.var(0)
    return untouched(np.where(kept, left, 0), C, Y, ids, alpha)


def untouched(
    X: np.ndarray, C: np.ndarray, Y: np.ndarray, ids: np.ndarray, alpha: Alpha
) -> Float[np.ndarray, "fold target"]:
    """No projection: Ridge from the features as they are."""
    return np.asarray(cpd(X, C, Y, folds=ids, alphas=alpha).r2_full)[:, 0]


def composition_only(
    C: np.ndarray, Y: np.ndarray, ids: np.ndarray
) -> Float[np.ndarray, "molecule target"]:
    """Held-out predictions of least squares from composition."""
    found = np.empty_like(Y)
    for fold in range(ids.max() + 1):
        train = ids != fold
        left = residual(Y, C, train)
        found[~train] = (Y - left)[~train]
    return found


def residual(
    X: Float[np.ndarray, "molecule feature"],
    C: Float[np.ndarray, "molecule concept"],
    train: np.ndarray | slice = slice(None),
) -> Float[np.ndarray, "molecule feature"]:
    """X less its least-squares prediction from C (with intercept), fitted on the rows `train`.

    >>> C = np.arange(4.0)[:, None]
    >>> bool(abs(residual(2 * C + 1, C)).max() < 1e-12)
    True
    """
    mean_c, mean_x = C[train].mean(0), X[train].mean(0)
    deviation = C[train].std(0)
    scaled = (C - mean_c) / np.where(deviation > 0, deviation, np.inf)
    b, *_ = np.linalg.lstsq(scaled[train], X[train] - mean_x, rcond=1e-10)
    return X - mean_x - scaled @ b
