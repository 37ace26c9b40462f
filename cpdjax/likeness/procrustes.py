"""Measure how far two spaces are from each other after the best rotation of one onto the other."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from cpdjax.likeness.draws import by_unit
from cpdjax.likeness.prepared import Prepared


def procrustes_row(
    left: Prepared,
    right: Prepared,
    channel: int,
    weights: Float[np.ndarray, "draw unit"] | None = None,
) -> tuple[Float[np.ndarray, " channel"], Float[np.ndarray, "draw channel"] | None]:
    """Return the Procrustes distances of a channel of `left` from the channels of `right`.

    Both of unit size, the least distance over all rotations (with reflections; the narrower space
    with columns of zeros) is

        √(2 − 2ν),   ν = ‖eₐᵀe_b‖_* / (‖eₐ‖_F ‖e_b‖_F),

    with the nuclear norm, the sum of the singular values (Schönemann, Psychometrika 31, 1, 1966).
    It is 0 for a space and its rotation, of which rounding makes up to 1e-7, and near √2 for spaces
    that have nothing in common. The distance is symmetric: where `right` is `left`, it is NaN for
    channels before this one, whose own rows hold it.

    Args:
        weights: how often each molecule is drawn, as `left` and `right` were prepared with.
            Replicates weight the sums over molecules but keep the best rotation of them all. That
            is of first order: no rotation of the draw's own brings the spaces nearer by more than
            a term of second order.
    """
    e = left.e[:, left.stack.columns(channel)]
    first = channel if right is left else 0
    columns = [right.stack.columns(b) for b in range(first, right.stack.channels)]
    others = [right.e[:, at] for at in columns]
    crossed = [e.T @ other for other in others]
    norm = np.array([np.linalg.svd(one, compute_uv=False).sum() for one in crossed])
    distance = _distance(norm, left.own.trace[channel] * right.own.trace[first:], first)
    if weights is None:
        return distance, None

    def drawn(shares: list[Float[np.ndarray, " row"]]) -> Float[np.ndarray, "draw channel"]:
        return weights @ by_unit(np.stack(shares, 1), right.stack.unit)

    pairs = zip(crossed, others, strict=True)
    norms = drawn([((e @ _rotation(one)) * other).sum(1) for one, other in pairs])
    sizes = drawn([(e**2).sum(1)]) * drawn([(other**2).sum(1) for other in others])
    return distance, _distance(norms, sizes, first)


def _distance(
    norm: Float[np.ndarray, "*draw other"], size: Float[np.ndarray, "*draw other"], first: int
) -> Float[np.ndarray, "*draw channel"]:
    """Return distances from norms and products of squared sizes, after NaN for the first few."""
    found = np.sqrt(np.maximum(2 - 2 * norm / np.sqrt(size), 0))
    before = [(0, 0)] * (found.ndim - 1) + [(first, 0)]
    return np.pad(found, before, constant_values=np.nan)


def _rotation(crossed: Float[np.ndarray, "left right"]) -> Float[np.ndarray, "left right"]:
    """Return the best rotation of the left columns, zero in directions that are not correlated."""
    u, values, vt = np.linalg.svd(crossed, full_matrices=False)
    correlated = values > max(crossed.shape) * np.finfo(values.dtype).eps * values[0]
    return u[:, correlated] @ vt[correlated]
