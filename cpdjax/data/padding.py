"""Sizes that structures are padded to: few, as each compiles once, and placed to waste little."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

MAX_BUCKETS = 6
"""Padded sizes, and so compilations, of one extraction or training."""
_MOLECULES = 250  # another bucket pays its compilation from about this many molecules


def bucket_sizes(sizes: Int[np.ndarray, " molecule"]) -> Int[np.ndarray, " bucket"]:
    """Padded sizes, ascending: of all choices the one that pads the fewest pairs of atoms.

    It minimises Σ padded², exactly, by dynamic programming over the distinct sizes.

    >>> bucket_sizes(np.repeat([3, 15, 16, 29], [50, 300, 400, 50]))
    array([ 3, 16, 29])
    """
    values, counts = np.unique(sizes, return_counts=True)
    seen = np.concatenate([[0], np.cumsum(counts)])
    # pairs[i, j]: of the molecules of the i-th to the j-th size, padded to the j-th.
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
