"""Estimate the intrinsic dimension of a space from the two nearest distances of its rows."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

#: Of the ratios of distances, in tenths, those that are fitted: the largest are noisy.
_FITTED = 9
_LEAST = 10


def two_nn(
    distance: Float[np.ndarray, "row neighbour"],
    weights: Float[np.ndarray, "draw row"] | None = None,
) -> float | Float[np.ndarray, " draw"]:
    """Return the TwoNN estimate of the dimension (Facco et al., Sci. Rep. 7, 12140, 2017).

    With μ the ratio of the second to the first distance and F its empirical distribution, it is
    the slope of  −ln(1 − F)  against  ln μ,  fitted through the origin without the largest tenth of
    the ratios. Rows with a twin, at distance 0, are left out (see `with_twin`). Of thousands on a
    line, rounding makes some look like twins, and its dimension 1.08; no other dimension changes.

    Args:
        distance: to the nearest neighbours of each row, the two nearest first.
        weights: how often each row is drawn, for replicates; by default each once.

    Returns:
        NaN where fewer than 10 rows are left, or all neighbours are equally far.

    >>> points = np.random.default_rng(0).random((2_000, 3))
    >>> from cpdjax.likeness.neighbours import nearest
    >>> round(two_nn(nearest(points, 2).distance), 1)
    2.9
    """
    apart = ~with_twin(distance)
    first, second = distance[apart, :2].T
    order = np.argsort(second / first, kind="stable")
    x = np.log(second / first)[order]
    drawn = np.ones((1, len(x))) if weights is None else weights[:, apart][:, order]
    found = np.array([_slope(x, w) for w in drawn])
    return float(found[0]) if weights is None else found


def with_twin(distance: Float[np.ndarray, "row neighbour"]) -> Bool[np.ndarray, " row"]:
    """Return which rows have a twin, a row at distance 0, and so no ratio of distances."""
    return distance[:, 0] == 0


def _slope(x: Float[np.ndarray, " row"], weight: Int[np.ndarray, " row"]) -> float:
    """Return the slope through the origin for ascending x, each drawn some number of times."""
    upto = np.cumsum(weight)
    if not len(x) or np.count_nonzero(weight) < _LEAST:
        return float("nan")
    fitted = 10 * upto <= _FITTED * upto[-1]
    x, weight = x[fitted], weight[fitted]
    # A row drawn several times stands at the middle of its steps of F, as each would on average.
    y = -np.log1p(-(upto[fitted] - (weight - 1) / 2) / upto[-1])
    square = (weight * x) @ x
    return float((weight * x) @ y / square) if square > 0 else float("nan")
