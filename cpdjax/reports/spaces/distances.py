"""How far channels are from each other, which of them can be compared, and trees of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from jaxtyping import Float, Int
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import squareform

from cpdjax.likeness.measures import OF_PAIRS
from cpdjax.reports.spaces.values import matrix

Square = Float[np.ndarray, "channel channel"]


def distances(table: xr.Dataset, measure: str, projection: str) -> Square:
    """Return 1 − likeness, or a distance as it is, of all pairs; undefined where nobody can say.

    A likeness below zero is none at all, and so counts as zero. Of a directed measure it is the
    mean of both directions.
    """
    values = matrix(table, measure, projection)
    far = 1 - np.clip(values, 0, 1) if OF_PAIRS[measure].more_alike else values
    far = (far + far.T) / 2
    np.fill_diagonal(far, 0)
    return far


def distance_text(measure: str) -> str:
    """Return what `distances` returns, in words.

    >>> distance_text("cka"), distance_text("procrustes")
    ('1 − CKA', 'Procrustes')
    """
    known = OF_PAIRS[measure]
    label = known.label.removesuffix(" a → b")
    both = ", mean of both directions" if known.directed else ""
    return f"{'1 − ' if known.more_alike else ''}{label}{both}"


def comparable(far: Square) -> list[Int[np.ndarray, " channel"]]:
    """Return the groups of channels between which there are distances, by number, largest first.

    Vectors are compared with vectors, and with nothing else; a channel of which a projection leaves
    nothing is alone.
    """
    count, group = connected_components(np.isfinite(far))
    found = [np.flatnonzero(group == k) for k in range(count)]
    return sorted(found, key=len, reverse=True)


def within(far: Square, group: Int[np.ndarray, " member"]) -> Float[np.ndarray, "member member"]:
    """Return the distances of a group; one that is undefined counts as the largest."""
    own = far[np.ix_(group, group)]
    return np.where(np.isfinite(own), own, np.nanmax(own))


def undefined_text(every: Sequence[Square]) -> str:
    """Return what a caption says of pairs without a distance inside a group, if there are some."""
    found = any(np.isnan(far[np.ix_(own, own)]).any() for far in every for own in comparable(far))
    return "pairs that cannot be compared count as the farthest" if found else ""


def tree(far: Float[np.ndarray, "member member"]) -> Float[np.ndarray, "link four"]:
    """Return the tree of a group by average linkage, leaves ordered so that neighbours are near.

    Average linkage is our choice, as it asks for no Euclidean space. The order: Z. Bar-Joseph et
    al., Bioinformatics 17, S22 (2001).
    """
    return linkage(squareform(far, checks=False), "average", optimal_ordering=True)


def clustered(far: Square) -> list[int]:
    """Return the numbers of all channels in the order of their trees, group by group."""
    order: list[int] = []
    for group in comparable(far):
        own = leaves_list(tree(within(far, group))) if len(group) > 1 else [0]
        order += group[own].tolist()
    return order
