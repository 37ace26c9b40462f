"""Score what a linear map reads beyond composition, as a regressor of scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import Ridge
from sklearn.utils.validation import check_is_fitted, validate_data

from cpdjax.sklearn.residual import Columns, CompositionResidual


class ResidualRidge(RegressorMixin, BaseEstimator):
    """Fit Ridge to what composition leaves of the features: `score` is R²_geom of the rows it gets.

    Fitting sees the rows of `fit` alone, so `cross_val_score` gives `cpdjax.cpd(...).r2_geom`, fold
    by fold.

    Args:
        composition, standardize: as in `CompositionResidual`.
        alpha: Ridge penalty.

    >>> from sklearn.model_selection import cross_val_score
    >>> rng = np.random.default_rng(0)
    >>> C, X = rng.integers(0, 9, (200, 3)), rng.normal(size=(200, 8))
    >>> scores = cross_val_score(ResidualRidge(3), np.hstack([C, X]), X[:, 0] + C[:, 0])
    >>> len(scores), bool(abs(scores.mean() - 1 / (1 + 20 / 3)) < 0.05)
    (5, True)
    """

    def __init__(
        self, composition: Columns = None, *, alpha: float = 1.0, standardize: bool = True
    ):
        self.composition = composition
        self.alpha = alpha
        self.standardize = standardize

    def fit(self, X: Any, y: Any) -> ResidualRidge:
        """Fit projection and Ridge on these rows; y is one target, or one in each column."""
        _, y = validate_data(self, X, y, dtype=np.float64, multi_output=True, y_numeric=True)
        self.residual_ = CompositionResidual(self.composition, standardize=self.standardize)
        self.ridge_ = Ridge(self.alpha).fit(self.residual_.fit_transform(X), y)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return the prediction from the residual features of any rows."""
        check_is_fitted(self)
        validate_data(self, X, dtype=np.float64, reset=False)
        return self.ridge_.predict(self.residual_.transform(X))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
