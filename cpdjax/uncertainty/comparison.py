"""Is one score above another? Both on the same folds: the corrected resampled t-test."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import ArrayLike, Float
from scipy import stats

from cpdjax.errors import InputError


@dataclass(frozen=True)
class Estimate:
    """A mean, its interval, and the two-sided p-value of the mean being zero."""

    value: float
    low: float
    high: float
    p_value: float = np.nan

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f}, {self.high:.3f})"


def estimate(scores: Float[np.ndarray, "repeat fold"], level: float = 0.95) -> Estimate:
    """Mean over folds and repeats with the corrected resampled t interval and test.

    Training sets of folds overlap, which a plain standard error ignores: the variance of J scores
    is multiplied by 1/J + n_test/n_train = 1/J + 1/(folds − 1) (Nadeau and Bengio, Machine Learning
    52, 239, 2003). t has J − 1 degrees of freedom.

    >>> print(estimate(np.full((2, 5), 0.5)))
    0.500 (0.500, 0.500)
    """
    count, folds = scores.size, scores.shape[1]
    error = np.sqrt(scores.var(ddof=1) * (1 / count + 1 / (folds - 1)))
    reach = stats.t.ppf((1 + level) / 2, count - 1) * error
    mean = scores.mean()
    if error > 0:
        p_value = 2 * stats.t.sf(np.abs(mean) / error, count - 1)
    else:  # no scatter: as sure as can be, or no difference at all; NaN stays NaN
        p_value = np.nan if np.isnan(mean) else float(mean == 0)
    return Estimate(float(mean), float(mean - reach), float(mean + reach), float(p_value))


def compare(
    a: Float[ArrayLike, "repeat fold"], b: Float[ArrayLike, "repeat fold"], level: float = 0.95
) -> Estimate:
    """The score `a` less the score `b`, both on the same repeats and folds.

    The corrected resampled t-test of the paired differences; see `estimate`. `cpd` and
    `learning_curve` give the same folds to all features with the same seed, sweeps to all models.
    It is conservative, and five folds alone leave it little power: take several repeats.

    Args:
        a, b: scores of a fold each, such as `cpd(...).r2_geom[:, 0, 0]`: one repeat may come
            without its axis.
        level: of the interval.

    Raises:
        InputError: scores of other shapes, or of fewer than two folds; a level outside (0, 1).

    >>> a, b = np.array([0.5, 0.6, 0.55, 0.62, 0.58]), np.array([0.4, 0.52, 0.5, 0.5, 0.51])
    >>> found = compare(a, b)
    >>> print(found, round(found.p_value, 3))
    0.084 (0.034, 0.134) 0.01
    """
    first, second = (np.atleast_2d(np.asarray(s, np.float64)) for s in (a, b))
    if first.shape != second.shape or first.ndim != 2 or first.shape[1] < 2:
        raise InputError(
            f"scores must both have axes (repeat, fold) of the same repeats and folds, two folds "
            f"at least, got shapes {np.shape(a)} and {np.shape(b)}"
        )
    if not 0 < level < 1:
        raise InputError(f"level must be between 0 and 1, such as 0.95, got {level!r}")
    return estimate(first - second, level)
