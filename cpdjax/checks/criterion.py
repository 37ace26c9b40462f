"""One line of a check: a figure, the bounds it must keep, and whether it does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Criterion:
    """A figure of a check; `passed` is None where it is reported and nothing is asked of it."""

    check: str
    quantity: str
    value: float
    rule: str
    passed: bool | None
    interval: tuple[float, float] | None = None
    """Of `value`, 95 %, where the check has one."""


def within(
    check: str,
    quantity: str,
    value: float,
    bounds: tuple[float, float],
    rule: str,
    interval: tuple[float, float] | None = None,
) -> Criterion:
    """A figure that passes inside its bounds; NaN does not.

    >>> within("planted", "deviation", 0.01, (0, 0.02), "at most 0.02").passed
    True
    """
    low, high = bounds
    return Criterion(check, quantity, float(value), rule, bool(low <= value <= high), interval)


def reported(
    check: str,
    quantity: str,
    value: float,
    rule: str,
    interval: tuple[float, float] | None = None,
) -> Criterion:
    """A figure without bounds."""
    return Criterion(check, quantity, float(value), rule, None, interval)


def all_passed(criteria: tuple[Criterion, ...]) -> bool:
    """Whether none of them failed.

    >>> all_passed((reported("isomers", "accuracy", 0.9, "reported"),))
    True
    """
    return all(c.passed is not False for c in criteria)


def mean_predictor(y: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """R² (fold, target) of predicting every held-out row by the mean of the training rows.

    It is what a probe scores that has found nothing: −(ȳ_train − ȳ_held out)² / var(y_held out),
    a little below zero, and more so where folds are of different formulas.

    >>> mean_predictor(np.array([[0.0], [2.0], [0.0], [2.0]]), np.array([0, 0, 1, 1])).tolist()
    [[0.0], [0.0]]
    """
    scores = []
    for fold in range(ids.max() + 1):
        held_out = y[ids == fold]
        shift = y[ids != fold].mean(0) - held_out.mean(0)
        variance = held_out.var(0)
        scores.append(
            np.where(variance > 0, -(shift**2), np.nan) / np.where(variance > 0, variance, 1)
        )
    return np.stack(scores)
