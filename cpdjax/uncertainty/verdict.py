"""Say whether a statement holds: one rule, fixed before any score is seen."""

from __future__ import annotations

from typing import Literal

from cpdjax.uncertainty.comparison import Estimate

Verdict = Literal["holds", "does not hold", "not decided"]


def verdict(estimate: Estimate, bound: float = 0.0) -> Verdict:
    """Say whether a quantity is above a bound, by its interval alone.

    It holds where the whole interval lies above the bound, and does not hold where the whole
    interval lies below it. In every other case, an interval that is unknown (NaN) among them,
    nothing is decided. The quantity must be named before its scores are seen: of the largest of
    several, chosen by the scores that it reports, an interval says too much.

    >>> verdict(Estimate(0.2, 0.1, 0.3)), verdict(Estimate(0.2, -0.9, 1.3))
    ('holds', 'not decided')
    """
    if estimate.low > bound:
        return "holds"
    return "does not hold" if estimate.high < bound else "not decided"
