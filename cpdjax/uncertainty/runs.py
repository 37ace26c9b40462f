"""Intervals over training runs: between runs, then between molecules and folds (seam)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy import stats

from cpdjax.uncertainty.comparison import Estimate


def hierarchical(scores: Float[np.ndarray, "run repeat fold"]) -> Estimate:
    """Return the mean over runs with the hierarchical interval."""
    return hierarchical_contrast([(1.0, scores)])


def hierarchical_difference(
    a: Float[np.ndarray, "run repeat fold"], b: Float[np.ndarray, "run repeat fold"]
) -> Estimate:
    """Return mean a less mean b with the hierarchical interval."""
    return hierarchical_contrast([(1.0, a), (-1.0, b)])


def hierarchical_contrast(
    terms: Sequence[tuple[float, Float[np.ndarray, "run repeat fold"]]],
) -> Estimate:
    """Return a weighted sum of models' means, with an interval over runs, molecules and folds.

    The runs of different models are independent; all are scored on the same molecules and folds.
    """
    folded = np.sum([weight * scores.mean(0) for weight, scores in terms], axis=0)
    count, folds = folded.size, folded.shape[1]
    parts = [(folded.var(ddof=1) * (1 / count + 1 / (folds - 1)), count - 1)]
    for weight, scores in terms:
        runs = len(scores)
        if runs > 1:
            means = scores.mean((1, 2))
            parts.append((weight**2 * means.var(ddof=1) / runs, runs - 1))
    variance = sum(v for v, _ in parts)
    weights = sum(v**2 / df for v, df in parts)
    df = variance**2 / weights if weights > 0 else np.inf
    error = np.sqrt(variance)
    reach = stats.t.ppf(0.975, df) * error if error > 0 else 0.0
    mean = float(folded.mean())
    p = 2 * stats.t.sf(abs(mean) / error, df) if error > 0 else float(mean == 0)
    return Estimate(mean, float(mean - reach), float(mean + reach), float(p))
