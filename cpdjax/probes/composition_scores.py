"""Score composition alone in NumPy, before anything is compiled or any model has run."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from cpdjax.probes.folds import Layout


def composition_scores(
    C: Float[np.ndarray, "row element"], Y: Float[np.ndarray, "row target"], layout: Layout
) -> Float[np.ndarray, "repeat fold target"]:
    """Return R² of least squares from composition at the largest size, on held-out rows.

    These are the `r2_comp` of `cpd` to rounding: NaN where a target is constant in a fold.
    """
    largest = layout.sizes[-1]
    repeats, folds, _ = layout.index.shape
    found = np.empty((repeats, folds, Y.shape[1]))
    for repeat in range(repeats):
        rows, ids = (of(repeat, largest) for of in (layout.subset, layout.fold_ids))
        for fold in range(folds):
            held = ids == fold
            found[repeat, fold] = _score(C[rows], Y[rows], held)
    return found


def _score(
    C: Float[np.ndarray, "row element"], Y: Float[np.ndarray, "row target"], held: np.ndarray
) -> Float[np.ndarray, " target"]:
    mean_c, mean_y = C[~held].mean(0), Y[~held].mean(0)
    deviation = C[~held].std(0)
    scaled = (C - mean_c) / np.where(deviation > 0, deviation, np.inf)
    weights = np.linalg.lstsq(scaled[~held], Y[~held] - mean_y, rcond=1e-10)[0]
    error = np.square(Y[held] - mean_y - scaled[held] @ weights).sum(0)
    total = np.square(Y[held] - Y[held].mean(0)).sum(0)
    return np.where(total > 0, 1 - error / np.where(total > 0, total, 1), np.nan)
