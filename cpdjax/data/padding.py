"""Choose the sizes that structures are padded to.

The sizes are few, because each is compiled once, and they lie where padding wastes little work.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Int

MAX_BUCKETS = 6
"""Limit the number of padded sizes, and so of compilations, in one extraction or training."""
_MOLECULES = 250  # from about this many molecules a further size pays for its compilation


def bucket_sizes(
    sizes: Int[np.ndarray, " molecule"],
    work: Callable[[int], float] = lambda atoms: atoms**2,
    opening: float = 0,
    most: int | None = None,
) -> Int[np.ndarray, " bucket"]:
    """Return the padded sizes, ascending, that cost the least work.

    Dynamic programming over the distinct sizes finds the exact minimum of Σ work(padded) plus
    `opening` for each padded size, over all choices of at most so many sizes.

    Args:
        sizes: the atoms of every molecule.
        work: the work of one molecule of so many atoms; by default its pairs of atoms.
        opening: what a padded size costs in the same unit, such as its compilation.
        most: the limit of padded sizes; by default one for every 250 molecules, up to
            `MAX_BUCKETS`.

    >>> sizes = np.repeat([3, 15, 16, 29], [50, 300, 400, 50])
    >>> bucket_sizes(sizes)
    array([ 3, 16, 29])
    >>> bucket_sizes(sizes, opening=50_000)
    array([16, 29])
    """
    if most is None:
        most = int(np.clip(len(sizes) // _MOLECULES, 1, MAX_BUCKETS))
    values, counts = np.unique(sizes, return_counts=True)
    seen = np.concatenate([[0], np.cumsum(counts)])
    each = np.array([work(atoms) for atoms in values.tolist()], float)
    # padded[i, j] is the work of the molecules of the i-th to the j-th size, when all are padded to
    # the j-th; best[k, j] that of all up to the j-th in at most k + 1 padded sizes.
    padded = (seen[None, 1:] - seen[:-1, None]) * each[None]
    padded[np.tril_indices(len(values), -1)] = np.inf
    best, starts = [padded[0]], [np.zeros(len(values), int)]
    while len(best) < most:
        total = np.concatenate([[0], best[-1][:-1]])[:, None] + padded
        best.append(total.min(0))
        starts.append(total.argmin(0))
    number = int(np.argmin([row[-1] + k * opening for k, row in enumerate(best)]))
    bounds, end = [], len(values)
    while end:
        bounds.append(values[end - 1])
        end = int(starts[number][end - 1])
        number -= 1
    return np.array(bounds[::-1])
