"""Take composition from features, as a transformer of scikit-learn."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import LinearRegression
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted, validate_data

from cpdjax.errors import InputError, UnknownNameError
from cpdjax.kernel.residual import varies

#: How the columns of composition are told.
Columns = int | slice | Sequence[int] | Sequence[str] | Callable[[Any], Any] | None


class CompositionResidual(TransformerMixin, BaseEstimator):
    """Take from features what composition explains of them, by least squares with an intercept.

    Fitting sees the rows of `fit` alone. Put it before a regressor of your choice in a `Pipeline`.

    Args:
        composition: the columns of X that are composition: how many of the first ones; a slice, a
            list of places or a mask; names of columns of a DataFrame; or a function of X that
            returns any of these. All other columns are features.
        standardize: divide every residual feature by its standard deviation. A feature that owes
            everything to composition becomes zero.

    >>> X = np.array([[1, 0, 3.0], [2, 0, 5.0], [1, 1, 7.0], [2, 1, 8.0]])
    >>> CompositionResidual(2).fit_transform(X).ravel().round(6).tolist()
    [-1.0, 1.0, 1.0, -1.0]
    """

    def __init__(self, composition: Columns = None, *, standardize: bool = True):
        self.composition = composition
        self.standardize = standardize

    def fit(self, X: Any, y: Any = None) -> CompositionResidual:
        """Fit the projection on these rows; y is not used."""
        values = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        self.is_composition_ = self._mask(X)
        c, x = values[:, self.is_composition_], values[:, ~self.is_composition_]
        if not x.shape[1]:
            raise InputError(
                f"no feature is left beside composition (n_features = {values.shape[1]}): "
                "name fewer columns in `composition`"
            )
        self.mean_x_, self.mean_c_ = x.mean(0), c.mean(0)
        self.coef_ = np.zeros((x.shape[1], c.shape[1]))
        if c.shape[1]:
            self.coef_ = LinearRegression().fit(c - self.mean_c_, x - self.mean_x_).coef_
        left = self._left(values).var(0)
        kept = varies(left, x.var(0), self.mean_x_)
        self.scale_ = np.where(kept, np.sqrt(left) if self.standardize else 1, np.inf)
        return self

    def transform(self, X: Any) -> Float[np.ndarray, "row feature"]:
        """Return the residual features of any rows."""
        check_is_fitted(self)
        values = validate_data(self, X, dtype=np.float64, reset=False)
        return self._left(values) / self.scale_

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the features."""
        check_is_fitted(self)
        return _check_feature_names_in(self, input_features)[~self.is_composition_]

    def _left(self, values: np.ndarray) -> Float[np.ndarray, "row feature"]:
        c, x = values[:, self.is_composition_], values[:, ~self.is_composition_]
        return (x - self.mean_x_) - (c - self.mean_c_) @ self.coef_.T

    def _mask(self, X: Any) -> Bool[np.ndarray, " column"]:
        """Return which columns are composition."""
        count = self.n_features_in_
        told = self.composition(X) if callable(self.composition) else self.composition
        if told is None:
            warnings.warn(
                "no column of X is known to be composition, so nothing is taken from the features "
                "and the score is R²_full: give composition, such as the number of its columns",
                stacklevel=3,
            )
        mask = np.zeros(count, bool)
        mask[self._places(told)] = True
        return mask

    def _places(self, told: Any) -> Any:
        """Return what NumPy takes for columns."""
        count, names = self.n_features_in_, list(getattr(self, "feature_names_in_", []))
        if told is None or isinstance(told, int | np.integer):
            if not 0 <= (told or 0) <= count:
                raise InputError(f"composition must be 0 to {count} columns of X, got {told}")
            return slice(told or 0)
        listed = [told] if isinstance(told, str) else told
        if isinstance(listed, slice):
            return listed
        for name in listed:
            if isinstance(name, str) and name not in names:
                raise UnknownNameError("column of composition", name, names)
        places = [names.index(name) if isinstance(name, str) else name for name in listed]
        try:
            return np.arange(count)[np.array(places, None if places else int)]
        except IndexError:
            raise InputError(
                f"composition must be columns of X, which has {count}, got {told!r}"
            ) from None
