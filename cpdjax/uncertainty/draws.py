"""Draw disjoint sets of molecules, whose scores are independent: a plain standard error holds.

Folds and repeats share molecules, so their scores do not scatter as independent ones would, and
intervals from them need a correction (see `comparison.estimate`). Sets that share no molecule need
none.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import ArrayLike, Float, Int

from cpdjax.errors import InputError
from cpdjax.uncertainty.comparison import Estimate, t_estimate
from cpdjax.validation import check_count


def draws(
    n: int, size: int, seed: int = 0, *, count: int | None = None
) -> Int[np.ndarray, "draw molecule"]:
    """Return the molecules of disjoint random sets of one size, out of n molecules.

    Args:
        count: how many sets; by default as many as there are molecules for.

    Raises:
        InputError: there are fewer molecules than two sets need, or than `count` sets do.

    >>> found = draws(10_000, 2_000)
    >>> found.shape, len(set(found.ravel().tolist()))
    ((5, 2000), 10000)
    """
    check_count("size", size)
    most = n // size
    wanted = most if count is None else count
    check_count("count", wanted, least=2)
    if wanted > most:
        raise InputError(
            f"{wanted} disjoint sets of {size:,} molecules need {wanted * size:,}, got {n:,}: take "
            "fewer sets, or smaller ones"
        )
    order = np.random.default_rng((seed, 5)).permutation(n)
    return order[: wanted * size].reshape(wanted, size)


def of_draws(scores: Float[ArrayLike, " draw"], level: float = 0.95) -> Estimate:
    """Return the mean of one score a draw, with the plain t interval and test of its mean.

    The standard error is the standard deviation between draws over √(number of draws).

    Args:
        scores: for each of several disjoint draws one number, such as the mean over its folds; or
            the difference of two models on it.

    Raises:
        InputError: there are fewer than two draws, or the level is outside (0, 1).

    >>> print(of_draws([0.4, 0.5, 0.6]))
    0.500 (0.252, 0.748)
    """
    values = np.asarray(scores, np.float64)
    if values.ndim != 1 or len(values) < 2:
        raise InputError(f"scores must be one for each of two draws or more, got {values.shape}")
    if not 0 < level < 1:
        raise InputError(f"level must be between 0 and 1, such as 0.95, got {level!r}")
    error = values.std(ddof=1) / np.sqrt(len(values))
    return t_estimate(values.mean(), error, len(values) - 1, level)
