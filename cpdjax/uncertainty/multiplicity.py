"""Many p-values at once: adjusted, so that a sweep's chance hits are not taken for findings."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from jaxtyping import ArrayLike, Float
from scipy.stats import false_discovery_control

from cpdjax.errors import InputError, UnknownNameError
from cpdjax.uncertainty.resampling import p_values

Method = Literal["holm", "bh"]


def adjust(p: Float[ArrayLike, "*score"], method: Method = "holm") -> Float[np.ndarray, "*score"]:
    """p-values of a family, adjusted: what is at most a is significant at level a.

    - "holm": bounds the probability of any false positive, whatever the dependence (Holm,
      Scand. J. Stat. 6, 65, 1979): the i-th smallest of m times m + 1 − i, made monotone.
    - "bh": bounds the expected share of false positives among the positives, for p-values that
      are independent or positively dependent (Benjamini and Hochberg, J. R. Stat. Soc. B 57, 289,
      1995).

    Args:
        p: of any shape, all of it one family. NaN stays NaN and does not count.

    Raises:
        InputError: a p outside [0, 1].
        UnknownNameError: another method.

    >>> adjust([0.01, 0.04, 0.03, np.nan]).tolist()
    [0.03, 0.06, 0.06, nan]
    >>> adjust([0.01, 0.04, 0.03, np.nan], "bh").tolist()
    [0.03, 0.04, 0.04, nan]
    """
    if method not in get_args(Method):
        raise UnknownNameError("method", method, get_args(Method))
    values = np.asarray(p, np.float64)
    known = ~np.isnan(values)
    family = values[known]
    if ((family < 0) | (family > 1)).any():
        raise InputError(f"p must be between 0 and 1, got {family.min()} to {family.max()}")
    adjusted = np.full(values.shape, np.nan)
    if family.size:
        adjusted[known] = _holm(family) if method == "holm" else false_discovery_control(family)
    return adjusted


def max_t(
    observed: Float[np.ndarray, "*score"], null: Float[np.ndarray, "permutation *score"]
) -> Float[np.ndarray, "*score"]:
    """Adjusted p-values from shared permutations: how often is the largest null score as large?

        t = (s − mean s) / std s,   p = (1 + #{max t of a permutation ≥ t observed}) / (1 + P)

    the single-step max-T of Westfall and Young (Resampling-Based Multiple Testing, 1993): it
    bounds the probability of any false positive. It knows how scores depend on each other, and
    can reach 1 / (1 + P) however many there are, where Holm stops at m / (1 + P).

    Scores are standardised one by one, since chance R² scatters more for some features and
    targets than for others, and the widest alone would set the threshold for all. Mean and
    standard deviation are over permutations and the observed order together: only then are all
    treated alike, and p as exact as a single one.

    Args:
        observed: of any shape, all of it one family, such as `PermutationTest.observed`. NaN
            stays NaN and does not count.
        null: scores of the same permutations throughout.

    Raises:
        InputError: shapes that disagree.

    >>> rng = np.random.default_rng(0)
    >>> null = rng.normal(size=(99, 3))
    >>> max_t(np.array([9.0, 0.0, np.nan]), null).round(2).tolist()
    [0.01, 0.71, nan]
    """
    observed, null = np.asarray(observed), np.asarray(null)
    if null.shape[1:] != observed.shape or not len(null):
        raise InputError(
            f"null must have a leading permutation axis over scores of shape {observed.shape}, "
            f"got shape {null.shape}"
        )
    known = ~np.isnan(observed)
    adjusted = np.full(observed.shape, np.nan)
    if known.any():
        scores = np.concatenate([observed[known][None], null[:, known]])
        t = _standardised(scores)
        largest = np.broadcast_to(t[1:].max(1, keepdims=True), t[1:].shape)
        adjusted[known] = p_values(t[0], largest)
    return adjusted


def _holm(p: Float[np.ndarray, " score"]) -> Float[np.ndarray, " score"]:
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(steps, 1)
    return adjusted


def _standardised(scores: Float[np.ndarray, "copy score"]) -> Float[np.ndarray, "copy score"]:
    """About the mean in standard deviations; without any scatter 0, NaN the largest of all."""
    mean, spread = np.nanmean(scores, axis=0), np.nanstd(scores, axis=0)
    rounding = np.sqrt(np.finfo(scores.dtype).eps) * (1 + np.abs(mean))
    varies = spread > rounding
    t = np.where(varies, (scores - mean) / np.where(varies, spread, 1), 0)
    return np.where(np.isnan(scores), np.inf, t)
