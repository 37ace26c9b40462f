"""Say what the residual probe predicts of every molecule, and which molecules carry its score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import ArrayLike, Float, Int

from cpdjax.errors import InputError
from cpdjax.probes.cpd import cpd
from cpdjax.probes.folds import kfold
from cpdjax.probes.signature import takes_choices
from cpdjax.probes.splitters import Folds, read_ids
from cpdjax.probes.within import deviations, whole_folds
from cpdjax.real_arrays import real_arrays


@dataclass(frozen=True)
class ResidualPredictions:
    """Hold the targets of molecules, and what the probe behind R²_geom predicts of them."""

    target: Float[np.ndarray, "molecule target"]
    prediction: Float[np.ndarray, "molecule target"]
    """The prediction from the residual, in the fold that holds the molecule out."""
    fold: Int[np.ndarray, " molecule"]
    """The fold that holds the molecule out."""
    r2_geom: Float[np.ndarray, "fold target"]
    """The score of `cpd`, which is R² of these predictions on the molecules of every fold."""
    r2_comp: Float[np.ndarray, "fold target"]
    """R² of least squares from composition, on the same molecules."""

    @property
    def contribution(self) -> Float[np.ndarray, "molecule target"]:
        """Return what every molecule adds to R²_geom: the sum is its mean over folds.

        R² of a fold is Σ[(y − ȳ)² − (y − ŷ)²] / Σ(y − ȳ)², so that every molecule has its share.
        It is positive where the prediction ŷ is closer to the target y than the fold's mean ȳ is.
        """
        in_fold = self.fold == np.arange(len(self.r2_geom))[:, None]  # (fold, molecule)
        mean = (in_fold @ self.target) / in_fold.sum(1)[:, None]
        spread = (self.target - mean[self.fold]) ** 2
        error = (self.target - self.prediction) ** 2
        total = np.where(np.isfinite(self.r2_geom), in_fold @ spread, np.nan)
        shares: np.ndarray = (spread - error) / total[self.fold] / len(in_fold)
        return shares


@takes_choices()
def residual_predictions(
    X: Float[ArrayLike, "molecule feature"],
    C: Float[ArrayLike, "molecule element"],
    Y: Float[ArrayLike, " molecule"] | Float[ArrayLike, "molecule target"],
    *,
    folds: Folds = 5,
    alpha: float | Literal["loo"] = "loo",
    seed: int = 0,
    concepts: Float[ArrayLike, "molecule concept"] | None = None,
    groups: Sequence[object] | np.ndarray | None = None,
    **choices: Any,
) -> ResidualPredictions:
    """Predict every molecule's targets with the probe of `cpd`, trained on the other folds.

    Args:
        X, C, Y, seed, groups, concepts, standardize, projection, components: as in `cpd`.
        folds: as in `cpd`, where they hold every molecule out once.
        alpha: one Ridge penalty, or "loo".

    Raises:
        InputError: as `cpd`, and where several penalties are given.

    >>> rng = np.random.default_rng(0)
    >>> C = rng.integers(0, 9, (300, 3)).astype(float)
    >>> X = rng.normal(size=(300, 4))
    >>> found = residual_predictions(X, C, X[:, 0] + C[:, 0])
    >>> bool(np.isclose(found.contribution.sum(), found.r2_geom.mean()))
    True
    """
    if np.ndim(alpha):
        raise InputError(f'alpha must be one number or "loo" for predictions, got {alpha!r}')
    x, c, y = real_arrays(X=X, C=C, Y=Y)
    columns = y[:, None] if y.ndim == 1 else y
    read = read_ids(folds, x, columns, what="residual_predictions")
    if groups is not None:
        read = whole_folds(read, groups, len(x), seed)
        columns = deviations(columns, groups)
    ids = kfold(len(x), read, seed=seed) if isinstance(read, int) else np.asarray(read)
    scores = cpd(
        x, c, y, folds=ids, alphas=alpha, groups=groups, concepts=concepts, predictions=True,
        **choices,
    )  # fmt: skip
    prediction = np.asarray(scores.prediction)[0]
    return ResidualPredictions(
        np.asarray(columns, np.float64),
        prediction,
        ids,
        np.asarray(scores.r2_geom)[:, 0],
        np.asarray(scores.r2_comp),
    )
