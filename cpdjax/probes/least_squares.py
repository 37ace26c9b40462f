"""Least squares from composition in NumPy, apart from the kernel, which it can be held against."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int


def residual(
    X: Float[np.ndarray, "molecule feature"],
    C: Float[np.ndarray, "molecule concept"],
    train: Bool[np.ndarray, " molecule"] | slice = slice(None),
) -> Float[np.ndarray, "molecule feature"]:
    """Return X less its least-squares prediction from C, with intercept, fitted on rows `train`.

    >>> C = np.arange(4.0)[:, None]
    >>> bool(abs(residual(2 * C + 1, C)).max() < 1e-12)
    True
    """
    mean_c, mean_x = C[train].mean(0), X[train].mean(0)
    deviation = C[train].std(0)
    scaled = (C - mean_c) / np.where(deviation > 0, deviation, np.inf)
    b, *_ = np.linalg.lstsq(scaled[train], X[train] - mean_x, rcond=1e-10)
    return X - mean_x - scaled @ b


def beyond_rounding(
    left: Float[np.ndarray, "row feature"], X: Float[np.ndarray, "row feature"]
) -> Bool[np.ndarray, " feature"]:
    """Return which features keep more than rounding errors in their residual `left`.

    The threshold is that of `cpd`: eps^(3/4) of the variance of the feature in X.

    >>> X = np.array([[1.0, 1.0], [2.0, 3.0]])
    >>> beyond_rounding(X * [1e-12, 0.5], X).tolist()
    [False, True]
    """
    return left.var(0) > np.finfo(np.float64).eps ** 0.75 * X.var(0)


def predict_from_composition(
    C: Float[np.ndarray, "molecule element"],
    Y: Float[np.ndarray, "molecule target"],
    ids: Int[np.ndarray, " molecule"],
) -> Float[np.ndarray, "molecule target"]:
    """Return the held-out predictions of least squares from composition.

    >>> C = np.array([[1.0], [2.0], [3.0], [4.0]])
    >>> predict_from_composition(C, 3 * C, np.array([0, 1, 0, 1])).ravel().tolist()
    [3.0, 6.0, 9.0, 12.0]
    """
    prediction = np.empty_like(Y)
    for fold in range(ids.max() + 1):
        train = ids != fold
        prediction[~train] = (Y - residual(Y, C, train))[~train]
    return prediction
