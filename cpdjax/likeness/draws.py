"""Draw molecules with replacement, and say how much a likeness scatters over the draws.

A draw is a weight for each molecule: how often it was drawn. Replicates are of first order: sums
over molecules are weighted, and nothing is fitted or searched anew. So no molecule meets itself
among its neighbours or in a kernel, as those drawn twice would, and replicates are not shifted
against the measure as those of a score are, which is fitted anew (see `uncertainty.bootstrap`).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_array

from cpdjax.uncertainty import bootstrap
from cpdjax.uncertainty.bootstrap import Interval
from cpdjax.validation import check_count


def weights(units: int, draws: int, seed: int) -> Float[np.ndarray, "draw unit"]:
    """Draw as many molecules as there are, with replacement: how often was each drawn?

    Raises:
        InputError: there are no units or no draws.

    >>> drawn = weights(5, draws=3, seed=0)
    >>> drawn.shape, drawn.sum(1).tolist()
    ((3, 5), [5.0, 5.0, 5.0])
    """
    check_count("units", units)
    check_count("draws", draws)
    rng = np.random.default_rng((seed, 6))
    return rng.multinomial(units, np.full(units, 1 / units), draws).astype(np.float64)


def by_unit(
    contributions: Float[np.ndarray, "row *measure"], unit: Int[np.ndarray, " row"]
) -> Float[np.ndarray, "unit *measure"]:
    """Sum over the rows of each molecule.

    >>> by_unit(np.array([1.0, 2.0, 4.0]), np.array([0, 1, 1])).tolist()
    [1.0, 6.0]
    """
    rows = len(unit)
    belongs = csr_array((np.ones(rows), (unit, np.arange(rows))), (int(unit.max()) + 1, rows))
    sums: np.ndarray = belongs @ contributions.reshape(rows, -1)
    return sums.reshape(-1, *contributions.shape[1:])


def mean_replicates(
    values: Float[np.ndarray, "row *measure"],
    unit: Int[np.ndarray, " row"],
    weights: Float[np.ndarray, "draw unit"],
) -> Float[np.ndarray, "draw *measure"]:
    """Return replicates of the mean over rows, of which the weights draw whole molecules.

    >>> mean_replicates(np.array([1.0, 2.0, 6.0]), np.array([0, 1, 1]), np.array([[2.0, 0.0]]))
    array([1.])
    """
    sums = np.tensordot(weights, by_unit(values, unit), 1)
    counts = weights @ by_unit(np.ones(len(unit)), unit)
    return sums / counts.reshape(-1, *[1] * (sums.ndim - 1))


def interval(replicates: Float[np.ndarray, "draw *measure"], level: float = 0.95) -> Interval:
    """Return the percentile interval: the middle `level` of the replicates, uncorrected for bias.

    It is NaN where a replicate is.

    Raises:
        InputError: the level is outside (0, 1).
    """
    return bootstrap.interval(replicates, level)
