"""Measure one channel against all others: by what is linear, by the best rotation, by neighbours.

A part is what one channel contributes to the matrices of some measures, as arrays by name. Parts
are independent of each other, so that they can be computed side by side and kept; replicates of the
bootstrap, where there are some, are under the same name with `REPLICATE` before it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from cpdjax.likeness.dimension import two_nn, with_twin
from cpdjax.likeness.draws import mean_replicates
from cpdjax.likeness.formulas import linear_measures, own_measures, stacked
from cpdjax.likeness.linear import LinearRow, linear_row
from cpdjax.likeness.neighbours import Nearest, imbalance, nearest, ranks, shared
from cpdjax.likeness.prepared import Prepared
from cpdjax.likeness.procrustes import procrustes_row

REPLICATE = "replicate_"
LINEAR = "linear"
"""Name the part of R², CKA and CCA."""
TWINS = "twins"
"""Name the number of rows that have another at distance 0, which TwoNN leaves out."""

#: The parts of one channel by name, and the matrices of all channels by measure.
Part = dict[str, Any]
Matrices = dict[str, np.ndarray]
Weights = Float[np.ndarray, "draw unit"] | None


class Side(NamedTuple):
    """Hold the channels on one side of all pairs: what is left of them, and their neighbours."""

    prepared: Prepared
    near: Sequence[Nearest] = ()


class Parts(NamedTuple):
    """Say which measures parts make, how one is computed, and how all become matrices."""

    measures: tuple[str, ...]
    of: Callable[[Side, Side, int, Weights], Part]
    matrices: Callable[[Sequence[Part], Side, Side, str], Matrices]


def _linear(left: Side, right: Side, channel: int, weights: Weights) -> Part:
    row, drawn = linear_row(left.prepared, right.prepared, channel, weights)
    found = {name: np.asarray(a) for name, a in row._asdict().items()}
    if drawn is not None:
        found |= {f"{REPLICATE}{name}": np.asarray(a) for name, a in drawn._asdict().items()}
    return found


def _linear_matrices(parts: Sequence[Part], left: Side, right: Side, prefix: str) -> Matrices:
    """Return R², CKA and CCA."""
    rows = [LinearRow(*(p[prefix + name] for name in LinearRow._fields)) for p in parts]
    a, b = left.prepared, right.prepared
    own = (a.own, b.own)
    if prefix and a.own_replicates is not None and b.own_replicates is not None:
        own = (a.own_replicates, b.own_replicates)
    return linear_measures(stacked(rows), *own, a.rows)


def _procrustes(left: Side, right: Side, channel: int, weights: Weights) -> Part:
    row, drawn = procrustes_row(left.prepared, right.prepared, channel, weights)
    return {"procrustes": row} | ({} if drawn is None else {f"{REPLICATE}procrustes": drawn})


def _procrustes_matrices(parts: Sequence[Part], left: Side, right: Side, prefix: str) -> Matrices:
    found = np.stack([p[f"{prefix}procrustes"] for p in parts], -2)
    if left is right:  # NaN before the diagonal
        found = np.where(np.isnan(found), found.swapaxes(-1, -2), found)
    return {"procrustes": found}


def _neighbours(left: Side, right: Side, channel: int, weights: Weights) -> Part:
    """Return imbalances from all channels to this one, and what it shares with all."""
    stack = right.prepared.stack
    e = right.prepared.e[:, stack.columns(channel)]
    first = np.stack([near.index[:, 0] for near in left.near])
    rows = {
        "imbalance": imbalance(ranks(e, first)),
        "shared_neighbours": shared(
            right.near[channel].index, np.stack([near.index for near in left.near])
        ),
    }
    found: Part = {name: values.mean(-1) for name, values in rows.items()}
    if weights is not None:
        drawn = {n: mean_replicates(v.T, stack.unit, weights) for n, v in rows.items()}
        found |= {f"{REPLICATE}{name}": values for name, values in drawn.items()}
    return found


def _neighbour_matrices(parts: Sequence[Part], left: Side, right: Side, prefix: str) -> Matrices:
    names = ("imbalance", "shared_neighbours")
    return {name: np.stack([p[prefix + name] for p in parts], -1) for name in names}


PARTS: dict[str, Parts] = {
    LINEAR: Parts(("r2", "cka", "cka_debiased", "cca"), _linear, _linear_matrices),
    "procrustes": Parts(("procrustes",), _procrustes, _procrustes_matrices),
    "neighbours": Parts(("imbalance", "shared_neighbours"), _neighbours, _neighbour_matrices),
}


def parts_of(measures: Sequence[str]) -> list[str]:
    """Return the parts that some measures need.

    >>> parts_of(["cka", "r2", "imbalance"])
    ['linear', 'neighbours']
    """
    return [name for name, part in PARTS.items() if set(part.measures) & set(measures)]


def near_of(prepared: Prepared, channel: int, k: int) -> Nearest:
    """Return the nearest rows of every row in one channel: k of them, and two at least."""
    found = nearest(prepared.e[:, prepared.stack.columns(channel)], max(k, 2))
    return Nearest(found.index[:, :k].astype(np.int32), found.distance[:, :2])


def own_of(side: Side, weights: Weights) -> tuple[Matrices, Matrices]:
    """Return what is measured of each channel by itself, and its replicates."""
    prepared = side.prepared
    found = dict(own_measures(prepared.own))
    drawn = {} if prepared.own_replicates is None else dict(own_measures(prepared.own_replicates))
    if side.near:
        found[TWINS] = np.array([with_twin(near.distance).sum() for near in side.near])
        found["intrinsic_dimension"] = np.array([two_nn(near.distance) for near in side.near])
        if weights is not None:
            of_rows = weights[:, prepared.stack.unit]
            each = [two_nn(near.distance, of_rows) for near in side.near]
            drawn["intrinsic_dimension"] = np.stack(each, -1)
    return found, drawn


def matrices(
    parts: Mapping[str, Sequence[Part]], left: Side, right: Side, prefix: str = ""
) -> Matrices:
    """Return the matrices (a, b) that parts make; with a prefix, those of replicates."""
    found: Matrices = {}
    for name, given in parts.items():
        found |= PARTS[name].matrices(given, left, right, prefix)
    return found
