"""Ways to take composition out of features, from nothing to more than least squares.

- "none": the features as they are;
- "linear": least squares from the counts, as in CPD;
- "quadratic": least squares from the counts, their squares and products;
- "formula": "linear", then the mean of every formula among the training rows is subtracted
  (formulas that training has not seen keep their linear residual; in folds grouped by formula no
  held-out formula has been seen).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from cpdjax.probes.least_squares import residual

RESIDUALS = ("none", "linear", "quadratic", "formula")


def residualise(
    X: Float[np.ndarray, "molecule feature"],
    C: Float[np.ndarray, "molecule element"],
    formulas: np.ndarray,
    train: Bool[np.ndarray, " molecule"],
    how: str,
) -> Float[np.ndarray, "molecule feature"]:
    """Return X less its prediction from composition by one of `RESIDUALS`, fitted on rows `train`.

    >>> C = np.array([[1.0], [1.0], [2.0], [3.0]])
    >>> train = np.array([True, True, True, False])
    >>> X = C**2
    >>> residualise(X, C, C[:, 0], train, "linear").round(9).ravel().tolist()
    [0.0, 0.0, 0.0, 2.0]
    """
    if how == "none":
        return X
    if how == "quadratic":
        first, second = np.triu_indices(C.shape[1])
        return residual(X, np.column_stack([C, C[:, first] * C[:, second]]), train)
    left = residual(X, C, train)
    return left - _formula_means(left, formulas, train) if how == "formula" else left


def _formula_means(
    left: Float[np.ndarray, "molecule feature"],
    formulas: np.ndarray,
    train: Bool[np.ndarray, " molecule"],
) -> Float[np.ndarray, "molecule feature"]:
    """Return the mean of each molecule's formula over the rows `train`; 0 where there is none."""
    _, group = np.unique(formulas, return_inverse=True)
    counts = np.bincount(group[train], minlength=group.max() + 1)
    sums = np.zeros((len(counts), left.shape[1]))
    np.add.at(sums, group[train], left[train])
    return (sums / np.maximum(counts, 1)[:, None])[group]
