"""Make measures of sums over rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from cpdjax.likeness.linear import LinearRow
from cpdjax.likeness.spectrum import Own


def stacked(rows: Sequence[LinearRow]) -> LinearRow:
    """Return the rows of all channels a as one, with axis a behind any draws."""
    return LinearRow(
        np.stack([r.r2 for r in rows], -3),
        *(np.stack(sums, -2) for sums in zip(*(r[1:] for r in rows), strict=True)),
    )


def linear_measures(
    rows: LinearRow, left: Own, right: Own, count: float
) -> dict[str, Float[np.ndarray, "..."]]:
    """Return the linear measures of all pairs, by the names of `measures.OF_PAIRS`.

    Args:
        rows: the sums of all channels a, as `stacked` has them.
        left: the sums of the channels a by themselves, with as many draws.
        right: the same of the channels b.
        count: the number of rows about whose mean residuals are; infinite where none was taken,
            as `Prepared.rows` has it.
    """
    return {
        # As in arrays of folds everywhere, the fold comes last.
        "r2": np.moveaxis(rows.r2, -2, -1),
        "cka": _ratio(rows.overlap, left.overlap, right.overlap),
        "cka_debiased": _ratio(
            _debiased(rows, _products(left.trace, right.trace), count),
            _debiased(left, left.trace**2, count),
            _debiased(right, right.trace**2, count),
        ),
        # Of all spaces with these spectra none have more in common (von Neumann's trace
        # inequality): so a space and its rotation have 1, and no pair has more. Without
        # regularisation it is the number of directions of the smaller space.
        "cca": rows.canonical / np.einsum("...ad,...bd->...ab", left.kept, right.kept),
    }


def own_measures(own: Own) -> dict[str, Float[np.ndarray, "*draw channel"]]:
    """Return the measures of single channels, by the names of `measures.OF_CHANNELS`."""
    return {
        "participation_ratio": own.trace**2 / own.overlap,
        "effective_rank": own.effective_rank,
    }


def _debiased(sums: LinearRow | Own, traces: np.ndarray, count: float) -> np.ndarray:
    """Return HSIC₁ (Song et al., J. Mach. Learn. Res. 13, 1393, 2012) times n (n − 3).

    It is written for centred features: a row of their kernel K without its diagonal sums to −Kᵢᵢ.
    For uncentred features, where the mean is known to be zero, what is due to centring vanishes,
    as it does for infinitely many rows.
    """
    centring = traces / ((count - 1) * (count - 2)) - 2 * sums.diagonal / (count - 2)
    return sums.overlap - sums.diagonal + centring


def _ratio(both: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return both / √(left · right), NaN where a debiased size is not positive."""
    size = _products(left, right)
    return both / np.sqrt(
        np.where((left > 0)[..., :, None] & (right > 0)[..., None, :], size, np.nan)
    )


def _products(left: np.ndarray, right: np.ndarray) -> Float[np.ndarray, "*draw a b"]:
    return left[..., :, None] * right[..., None, :]
