"""Errors of predicting from composition alone, which a trained model must beat."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from cpdjax.data.composition import composition, elements
from cpdjax.data.structures import Structures


def baselines(train: Structures, test: Structures, target: str) -> dict[str, float]:
    """Return the mean absolute errors on `test` of two predictors fitted on `train`.

    Returns:
        `mean_mae`, the error of the training mean, and `composition_mae`, that of ridge regression
        (α = 1) on element counts.
    """
    y, expected = train.target(target), test.target(target)
    columns = elements(train)
    predicted = _ridge(composition(train), y, composition(test, elements=columns))
    return {
        "mean_mae": float(np.abs(expected - y.mean()).mean()),
        "composition_mae": float(np.abs(expected - predicted).mean()),
    }


def _ridge(
    X: Float[np.ndarray, "molecule element"],
    y: Float[np.ndarray, " molecule"],
    held_out: Float[np.ndarray, "test element"],
    alpha: float = 1.0,
) -> Float[np.ndarray, " test"]:
    mean, level = X.mean(0), y.mean()
    gram = (X - mean).T @ (X - mean) + alpha * np.eye(X.shape[1])
    weights = np.linalg.solve(gram, (X - mean).T @ (y - level))
    return (held_out - mean) @ weights + level
