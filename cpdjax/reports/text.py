"""Numbers and notes as tables and figures print them."""

from __future__ import annotations

import numpy as np


def score_text(value: float, digits: int = 2) -> str:
    """Return a score with its digits; far below zero its magnitude alone.

    >>> score_text(0.5), score_text(-12345.0), score_text(np.nan)
    ('0.50', '-1e+04', 'undefined')
    """
    if not np.isfinite(value):
        return "undefined"
    return f"{value:.{digits}f}" if value > -10 else f"{value:.0e}"


def p_text(value: float) -> str:
    """Return a p-value with two significant digits.

    >>> p_text(0.01234)
    '0.012'
    """
    return f"{value:.2g}"


def left_out_text(**left_out: int) -> str:
    """Return a note about what the results hold and a table or figure does not show.

    >>> left_out_text(channels=0, targets=3)
    '3 further targets in the results'
    """
    parts = [f"{count} further {what}" for what, count in left_out.items() if count]
    return f"{', '.join(parts)} in the results" if parts else ""
