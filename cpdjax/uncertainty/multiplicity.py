"""Adjust many p-values together, so that chance hits of a sweep are not taken for findings."""

from __future__ import annotations

import math
from typing import Literal, get_args

import numpy as np
from jaxtyping import ArrayLike, Float
from scipy.stats import false_discovery_control

from cpdjax.errors import InputError, UnknownNameError
from cpdjax.uncertainty.resampling import p_values

Method = Literal["holm", "bh"]
#: What an adjusted p-value is compared with by default, in tables as in refusals (our choice).
LEVEL = 0.05


def adjust(p: Float[ArrayLike, "*score"], method: Method = "holm") -> Float[np.ndarray, "*score"]:
    """Return the p-values of one family of tests, adjusted for how many tests there are.

    A test is significant at level a if its adjusted p-value is at most a. The methods differ in
    what this level bounds:

    - "holm": the probability of one false positive or more, whatever the dependence between tests
      (Holm, Scand. J. Stat. 6, 65, 1979). The i-th smallest of m p-values is multiplied by
      m + 1 − i, and no adjusted value is less than that of a smaller p-value.
    - "bh": the expected share of false positives among all positives, for tests that are
      independent or positively dependent (Benjamini and Hochberg, J. R. Stat. Soc. B 57, 289,
      1995).

    Args:
        p: the p-values, in an array of any shape, which all belong to one family. NaN stays NaN
            and does not count as a test.
        method: "holm" or "bh".

    Raises:
        InputError: when a p-value is outside [0, 1].
        UnknownNameError: when the method is another one.

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
    """Return adjusted p-values of scores whose null scores come from the same P permutations.

    A score s counts in standard deviations, and against the largest score of each permutation:

        t = (s − mean s) / std s,   p = (1 + #{max t of a permutation ≥ t observed}) / (1 + P).

    This is the single-step max-T method of Westfall and Young (Resampling-Based Multiple Testing,
    1993), which bounds the probability of one false positive or more. Since permutations are
    shared, it takes the dependence between scores into account. It can reach 1 / (1 + P) however
    many scores there are, whereas Holm's method cannot go below m / (1 + P) for m scores.

    Every score is standardised by itself: chance R² scatters more for some features and targets
    than for others, and those that scatter most would otherwise set the threshold for all. The
    mean and the standard deviation are taken over the permutations and the observed order
    together. Only then are all orders treated alike, and each p-value is as exact as that of a
    single test. A score whose chance values have a long tail below, as R² has where a probe fails,
    then has the less power itself, and takes none from the others.

    Single-step max-T controls false positives among true null hypotheses whichever others are
    false (subset pivotality), since permuting a target breaks its tie to every channel, and
    leaves the chance scores of all pairs of channel and target as they are together.

    Args:
        observed: the observed scores, such as `PermutationTest.observed`, in an array of any shape,
            which all belong to one family. NaN stays NaN and does not count as a score.
        null: the scores under each permutation, the same permutations for every score.

    Raises:
        InputError: when the shapes do not match.

    >>> rng = np.random.default_rng(0)
    >>> null = rng.normal(size=(99, 3))
    >>> max_t(np.array([9.0, 0.0, np.nan]), null).round(2).tolist()
    [0.01, 0.71, nan]
    """
    observed, null = np.asarray(observed), np.asarray(null)
    if null.shape[1:] != observed.shape or not len(null):
        raise InputError(
            f"null must have a leading permutation axis over scores of shape {observed.shape} and "
            f"at least one permutation, got shape {null.shape}"
        )
    known = ~np.isnan(observed)
    adjusted = np.full(observed.shape, np.nan)
    if known.any():
        scores = np.concatenate([observed[known][None], null[:, known]])
        t = _standardised(scores)
        largest = np.broadcast_to(t[1:].max(1, keepdims=True), t[1:].shape)
        adjusted[known] = p_values(t[0], largest)
    return adjusted


def smallest(method: Method | Literal["max-t"], scores: int, permutations: int) -> float:
    """Return the smallest adjusted p-value that permutations can give in a family of scores.

    A p-value of P permutations is 1 / (1 + P) at least. Holm's method multiplies the smallest of m
    by m; with "bh" and "max-t" all scores can keep theirs.

    >>> smallest("holm", 468, 999), smallest("max-t", 468, 999)
    (0.468, 0.001)
    """
    return min((scores if method == "holm" else 1) / (1 + permutations), 1)


def needed(method: Method | Literal["max-t"], scores: int) -> int:
    """Return the number of permutations from which on the smallest p-value is at most 0.05.

    >>> needed("holm", 468), needed("max-t", 468)
    (9359, 19)
    """
    return math.ceil((scores if method == "holm" else 1) / LEVEL - 1e-9) - 1


def _holm(p: Float[np.ndarray, " score"]) -> Float[np.ndarray, " score"]:
    """Return p-values adjusted by Holm's method."""
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(steps, 1)
    return adjusted


def _standardised(scores: Float[np.ndarray, "copy score"]) -> Float[np.ndarray, "copy score"]:
    """Return scores as distances from their mean over the copies, in standard deviations.

    A score without scatter becomes 0. A copy whose score is NaN becomes infinite, so that it counts
    against significance.
    """
    mean, spread = np.nanmean(scores, axis=0), np.nanstd(scores, axis=0)
    # Scores that are equal but for rounding do not scatter.
    rounding = np.sqrt(np.finfo(scores.dtype).eps) * (1 + np.abs(mean))
    varies = spread > rounding
    t = np.where(varies, (scores - mean) / np.where(varies, spread, 1), 0)
    return np.where(np.isnan(scores), np.inf, t)
