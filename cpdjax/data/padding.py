"""Choose the sizes that structures are padded to.

The sizes are few, because each is compiled once, and they lie where padding wastes little work.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

MAX_BUCKETS = 6
"""Limit the number of padded sizes, and so of compilations, in one extraction or training."""
_MOLECULES = 250  # from about this many molecules a further size pays for its compilation


def bucket_sizes(sizes: Int[np.ndarray, " molecule"]) -> Int[np.ndarray, " bucket"]:
    """Return the padded sizes, ascending, that add the fewest pairs of atoms as padding.

    Dynamic programming over the distinct sizes finds the exact minimum of Σ padded² over all
    choices of so many sizes.

    >>> bucket_sizes(np.repeat([3, 15, 16, 29], [50, 300, 400, 50]))
    array([ 3, 16, 29])
    """
    values, counts = np.unique(sizes, return_counts=True)
    seen = np.concatenate([[0], np.cumsum(counts)])
    # pairs[i, j] counts the pairs of atoms of the molecules of the i-th to the j-th size, when all
    # are padded to the j-th.
    pairs = (seen[None, 1:] - seen[:-1, None]) * np.square(values, dtype=float)[None]
    pairs[np.tril_indices(len(values), -1)] = np.inf
    best = pairs[0]
    starts: list[Int[np.ndarray, " size"]] = []
    for _ in range(1, np.clip(len(sizes) // _MOLECULES, 1, MAX_BUCKETS)):
        total = np.concatenate([[0], best[:-1]])[:, None] + pairs
        best = total.min(0)
        starts.append(total.argmin(0))
    bounds, end = [], len(values)
    while end:
        bounds.append(values[end - 1])
        end = starts.pop()[end - 1] if starts else 0
    return np.array(bounds[::-1])
