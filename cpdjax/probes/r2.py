"""R² of predictions in NumPy, fold by fold: the score of scikit-learn's `r2_score`."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int


def r2(
    y: Float[np.ndarray, "row target"], prediction: Float[np.ndarray, "row target"]
) -> Float[np.ndarray, " target"]:
    """Return R² of every target about its mean over these rows; NaN where a target is constant.

    >>> r2(np.array([[0.0, 1.0], [2.0, 1.0]]), np.array([[0.0, 1.0], [1.0, 1.0]])).tolist()
    [0.5, nan]
    """
    variance = y.var(0)
    error = np.square(y - prediction).mean(0)
    return np.where(variance > 0, 1 - error / np.where(variance > 0, variance, 1), np.nan)


def r2_by_fold(
    y: Float[np.ndarray, "molecule target"],
    prediction: Float[np.ndarray, "molecule target"],
    ids: Int[np.ndarray, " molecule"],
) -> Float[np.ndarray, "fold target"]:
    """Return R² of held-out predictions, for the molecules of each fold by themselves.

    >>> y = np.array([[0.0], [2.0], [0.0], [4.0]])
    >>> r2_by_fold(y, np.array([[0.0], [2.0], [2.0], [2.0]]), np.array([0, 0, 1, 1])).tolist()
    [[1.0], [0.0]]
    """
    folds = range(ids.max() + 1)
    return np.stack([r2(y[ids == fold], prediction[ids == fold]) for fold in folds])


def r2_of_training_mean(
    y: Float[np.ndarray, "molecule target"], ids: Int[np.ndarray, " molecule"]
) -> Float[np.ndarray, "fold target"]:
    """Return R² of predicting every held-out molecule by the mean of the training molecules.

    A probe that has found nothing scores this: −(ȳ_train − ȳ_held-out)² / var(y_held-out), which
    is a little below zero, and further below where folds hold different formulas.

    >>> y = np.array([[0.0], [2.0], [1.0], [3.0]])
    >>> r2_of_training_mean(y, np.array([0, 0, 1, 1])).tolist()
    [[-1.0], [-1.0]]
    """
    prediction = np.empty_like(y)
    for fold in range(ids.max() + 1):
        prediction[ids == fold] = y[ids != fold].mean(0)
    return r2_by_fold(y, prediction, ids)
