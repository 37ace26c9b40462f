"""The outcome of a check: a computed quantity, what is required of it, and whether it is met."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """Hold one quantity of a check, the requirement in words, and whether it is met."""

    check: str
    quantity: str
    value: float
    requirement: str
    passed: bool | None
    """None where the value is reported and nothing is required of it."""
    interval: tuple[float, float] | None = None
    """The 95 % interval of the value, or another range that `requirement` names."""


def required(
    check: str,
    quantity: str,
    value: float,
    bounds: tuple[float, float],
    requirement: str,
    interval: tuple[float, float] | None = None,
) -> Outcome:
    """Return an outcome that passes where the value lies within its bounds; NaN fails.

    >>> required("planted", "deviation", 0.01, (0, 0.02), "at most 0.02").passed
    True
    """
    low, high = bounds
    passed = bool(low <= value <= high)
    return Outcome(check, quantity, float(value), requirement, passed, interval)


def reported(
    check: str,
    quantity: str,
    value: float,
    requirement: str = "none",
    interval: tuple[float, float] | None = None,
) -> Outcome:
    """Return an outcome of which nothing is required."""
    return Outcome(check, quantity, float(value), requirement, None, interval)


def all_passed(outcomes: Iterable[Outcome]) -> bool:
    """Return whether no requirement is missed.

    >>> all_passed([reported("isomers", "accuracy", 0.9)])
    True
    """
    return all(outcome.passed is not False for outcome in outcomes)
