"""Compare two scores on the same folds by the corrected resampled t-test."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import ArrayLike, Float
from scipy import stats

from cpdjax.errors import InputError


@dataclass(frozen=True)
class Estimate:
    """Hold a mean, its confidence interval and the two-sided p-value of the mean being zero."""

    value: float
    low: float
    high: float
    p_value: float = np.nan

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f}, {self.high:.3f})"


def estimate(
    scores: Float[np.ndarray, "repeat fold"], level: float = 0.95, *, overlap: float | None = None
) -> Estimate:
    """Return the mean over folds and repeats with the corrected resampled t interval and test.

    The training sets of different folds overlap, which a plain standard error ignores. So the
    variance of J scores is multiplied not by 1/J but by 1/J + n_test/n_train, which is
    1/J + 1/(folds − 1) (Nadeau and Bengio, Machine Learning 52, 239, 2003). The t distribution has
    J − 1 degrees of freedom.

    Where there is one fold, a test set that all repeats share, n_test/n_train says nothing of how
    much the scores have in common. They then scatter with the training set alone: the interval is
    that of the mean over training sets of this size *for these test molecules*, and how scores
    would differ on other test molecules is not in it. Two training sets of N molecules, drawn from
    M, share the part N/M of their molecules, and to first order their scores correlate as much. So
    the variance between repeats is multiplied by 1/J + N/(M − N) (our choice). In simulations
    (Ridge, 8 features, M = 500, 300 test molecules, J = 5, N from 50 to 400) 95 % covered that mean
    in 95 % to 96 % of the cases, and the mean over all test sets in 57 % to 87 %. Where N = M, all
    repeats are one, and the interval is NaN.

    Args:
        overlap: N/M; the interval of one fold is NaN without it.

    >>> print(estimate(np.full((2, 5), 0.5)))
    0.500 (0.500, 0.500)
    """
    variance = corrected_variance(scores, overlap)
    if np.isnan(variance) and not np.isnan(scores).any():
        return Estimate(float(scores.mean()), np.nan, np.nan)
    return t_estimate(float(scores.mean()), float(np.sqrt(variance)), scores.size - 1, level)


def corrected_variance(
    scores: Float[np.ndarray, "repeat fold"], overlap: float | None = None
) -> float:
    """Return the variance of the mean over folds and repeats, corrected as `estimate` says.

    It is NaN for a single score, and for one fold whose training sets are the same or unknown.
    """
    count, folds = scores.size, scores.shape[1]
    shared = 1 / (folds - 1) if folds > 1 else _shared(overlap)
    if count < 2:
        return np.nan
    return float(scores.var(ddof=1) * (1 / count + shared))


def t_estimate(mean: float, error: float, freedom: float, level: float) -> Estimate:
    """Return a mean with its t interval and test, from its standard error and degrees of freedom.

    Without scatter the mean is certain: p is 1 if it is zero, else 0; NaN stays NaN.
    """
    reach = stats.t.ppf((1 + level) / 2, freedom) * error
    if error > 0:
        p_value = 2 * stats.t.sf(np.abs(mean) / error, freedom)
    else:
        p_value = np.nan if np.isnan(mean) else float(mean == 0)
    return Estimate(mean, float(mean - reach), float(mean + reach), float(p_value))


def _shared(overlap: float | None) -> float:
    """Return ρ / (1 − ρ) for scores that correlate by ρ; NaN where they are one or ρ is unknown."""
    return np.nan if overlap is None or overlap >= 1 else overlap / (1 - overlap)


def compare(
    a: Float[ArrayLike, "repeat fold"],
    b: Float[ArrayLike, "repeat fold"],
    level: float = 0.95,
    *,
    overlap: float | None = None,
) -> Estimate:
    """Return the score `a` less the score `b`, both on the same repeats and folds.

    The paired differences go through the corrected resampled t-test (see `estimate`). With the
    same random seed, the functions `cpd` and `learning_curve` give the same folds to all features,
    and a sweep gives the same folds to all models. The test is conservative, and has little power
    with five folds alone: use several repeats.

    Args:
        a, b: one score per fold and repeat, such as `cpd(...).r2_geom[:, 0, 0]`. The axis of
            repeats may be missing where there is only one.
        level: the confidence level of the interval.
        overlap: where all repeats share one test set (`learning_curve(test=...)`), the number of
            training molecules divided by that of the molecules that they are drawn from. See
            `estimate` for what the interval then means.

    Raises:
        InputError: when the two have different shapes, or fewer than two folds without an overlap
            below 1, or when the level is outside (0, 1).

    >>> a, b = np.array([0.5, 0.6, 0.55, 0.62, 0.58]), np.array([0.4, 0.52, 0.5, 0.5, 0.51])
    >>> found = compare(a, b)
    >>> print(found, round(found.p_value, 3))
    0.084 (0.034, 0.134) 0.01
    """
    first, second = (np.atleast_2d(np.asarray(s, np.float64)) for s in (a, b))
    single = first.shape[-1] < 2 and np.isnan(_shared(overlap))
    if first.shape != second.shape or first.ndim != 2 or single:
        raise InputError(
            f"both scores must have axes (repeat, fold) with the same repeats and folds, at least "
            f"two folds (or one, a test set, and overlap), got shapes {np.shape(a)} and "
            f"{np.shape(b)}"
        )
    if not 0 < level < 1:
        raise InputError(f"level must be between 0 and 1, such as 0.95, got {level!r}")
    return estimate(first - second, level, overlap=overlap)
