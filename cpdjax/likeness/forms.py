"""Sum squares of linear maps of rows in many orders, at a price that no channel's width enters.

A sum of squares ‖W y‖² of features y is ⟨WᵀW, y yᵀ⟩. Both are matrices of rows × rows, of which
the first belongs to one side of a pair alone, and the second to the other one, in whatever order
its rows are. So all forms WᵀW are found once, tile by tile, and meet the products of rows in every
order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations_with_replacement

import numpy as np
from jaxtyping import Float, Int

#: 64 MB in float64 for a tile of all forms, beside which that of products is small.
_IN_TILES = 2**23

_Map = Float[np.ndarray, "any row"]


def sums_of_squares(
    maps: Sequence[_Map],
    features: Sequence[Float[np.ndarray, "row feature"]],
    orders: Int[np.ndarray, "order row"],
) -> Float[np.ndarray, "order map channel"]:
    """Return ‖W y‖² for every map W, and the features y of every channel in every order."""
    found = np.zeros((len(orders), len(maps), len(features)))
    for first, second in _tiles(orders.shape[1], len(maps)):
        shape = first.stop - first.start, second.stop - second.start
        forms = np.empty((len(maps), *shape))
        for form, w in zip(forms, maps, strict=True):
            np.matmul(w[:, first].T, w[:, second], out=form)
        if first != second:
            forms *= 2  # for the tile across the diagonal
        products = np.empty((len(features), *shape))
        for i, order in enumerate(orders):
            for product, y in zip(products, features, strict=True):
                np.matmul(y[order[first]], y[order[second]].T, out=product)
            found[i] += forms.reshape(len(maps), -1) @ products.reshape(len(features), -1).T
    return found


def _tiles(rows: int, maps: int) -> Iterator[tuple[slice, slice]]:
    """Return square tiles of rows × rows on the diagonal and above it."""
    size = max(int((_IN_TILES / maps) ** 0.5), 1)
    places = [slice(start, min(start + size, rows)) for start in range(0, rows, size)]
    return combinations_with_replacement(places, 2)
