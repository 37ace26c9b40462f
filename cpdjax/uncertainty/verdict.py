"""Say what an interval decides."""

from __future__ import annotations

from typing import Literal

from cpdjax.uncertainty.comparison import Estimate

Decided = Literal["holds", "does not hold", "not decided"]


def verdict(estimate: Estimate, bound: float = 0.0) -> Decided:
    """Return "holds" for an interval above the bound, "does not hold" for one below it.

    Everything else, an undefined interval too, is "not decided".

    >>> verdict(Estimate(0.2, 0.1, 0.3)), verdict(Estimate(0.2, -0.1, 0.5))
    ('holds', 'not decided')
    """
    if estimate.low > bound:
        return "holds"
    return "does not hold" if estimate.high < bound else "not decided"
