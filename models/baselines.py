"""What composition alone predicts: the error that a trained model must beat."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from cpdjax.composition import composition
from cpdjax.models.splits import Split
from cpdjax.structures import Structures


def baselines(structures: Structures, split: Split, target: str) -> dict[str, float]:
    """Mean absolute errors on the probe set of two predictors fitted on the training set.

    Returns:
        `mean_mae`, of the training mean; `composition_mae`, of Ridge (α = 1) on element counts.
    """
    values, counts = structures.target(target), composition(structures)
    train, probe = split.train, split.probe
    predicted = _ridge(counts[train], values[train], counts[probe])
    return {
        "mean_mae": float(np.abs(values[probe] - values[train].mean()).mean()),
        "composition_mae": float(np.abs(values[probe] - predicted).mean()),
    }


def _ridge(
    X: Float[np.ndarray, "molecule element"],
    y: Float[np.ndarray, " molecule"],
    held_out: Float[np.ndarray, "probe element"],
    alpha: float = 1.0,
) -> Float[np.ndarray, " probe"]:
    mean, level = X.mean(0), y.mean()
    gram = (X - mean).T @ (X - mean) + alpha * np.eye(X.shape[1])
    weights = np.linalg.solve(gram, (X - mean).T @ (y - level))
    return (held_out - mean) @ weights + level
