"""Compare one channel with all others by what is linear: R² of Ridge, CKA and CCA.

The products of one channel's columns with all columns are formed once, fold by fold. All else is
made of them at the price of a channel's width: training moments are sums of other folds' products,
less what the projection explains (see `prepared.Columns`), and errors on held-out rows follow from
the products of the fold itself.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from cpdjax.kernel.moments import einsum
from cpdjax.likeness.blocks import Block, by_channel
from cpdjax.likeness.columns import Columns
from cpdjax.likeness.contributions import Fold, Pass, changes
from cpdjax.likeness.layout import padded
from cpdjax.likeness.prepared import Prepared
from cpdjax.machine.precision import precision
from cpdjax.machine.programs import compiled


class LinearRow(NamedTuple):
    """Hold sums between one channel, a, and every channel b; replicates have draws in front."""

    #: R² of Ridge from a to b on the rows that a fold holds out.
    r2: Float[np.ndarray, "*draw fold channel"]
    #: ‖e_aᵀ e_b‖²_F.
    overlap: Float[np.ndarray, "*draw channel"]
    #: What single rows contribute to `overlap`, Σᵢ ‖e_ia‖² ‖e_ib‖²; see `spectrum.pairs`.
    diagonal: Float[np.ndarray, "*draw channel"]
    #: The same as `overlap` of whitened columns.
    canonical: Float[np.ndarray, "*draw channel"]


class _One(NamedTuple):
    """Hold channel a, padded."""

    number: Int[Array, ""]
    column: Int[Array, " width"]
    whitening: Float[Array, "width width"]
    ridge: Float[Array, "fold width width"]


def linear_row(
    left: Prepared,
    right: Prepared,
    channel: int,
    weights: Float[np.ndarray, "draw unit"] | None = None,
) -> tuple[LinearRow, LinearRow | None]:
    """Return sums between a channel of `left` and all of `right`, and replicates for `weights`.

    Several threads may call it at once. Replicates are of first order: each sum plus
    Σ (weight − 1) · contribution, where the fits of projection and Ridge stay as they are. Drawing
    rows twice instead would make them each other's neighbours and raise every kernel.

    Args:
        right: the same as `left`, or the same stack with its rows permuted.
    """
    column = left.layout.column[channel]
    size = len(column)
    with precision(np.float64):
        one = _One(
            jnp.asarray(channel),
            jnp.asarray(column),
            jnp.asarray(padded(left.whitening[channel], size)),
            jnp.asarray(padded(left.ridges[channel], size)),
        )
        given = None if weights is None else jnp.asarray(weights, np.float64)
        row, replicates = _row(one, left.columns, right.columns, right.blocks, given)
        return jax.tree.map(np.asarray, (row, replicates))


def _of_row(
    one: _One, left: Columns, right: Columns, blocks: list[Block], weights: Array | None
) -> tuple[LinearRow, LinearRow | None]:
    e = left.e[:, one.column]
    shift = left.shift[:, one.column]
    whole = (e + shift[:, :, None]) * left.present[:, None]
    products = einsum("kpn,kwn->kpw", right.e, e)
    coefficients = _coefficients(one, left, right, products)
    rows = right.present.sum(1)[:, None]
    held_out = products + (rows * right.centre)[:, :, None] * shift[:, None]
    held_out = held_out + right.shift[:, :, None] * whole.sum(2)[:, None]
    own = einsum("kwn,kvn->kwv", whole, whole)
    # The error y − ŷ of ŷ = Σ x b has the square y² − Σ b (2 x y − Σ x x b).
    explained = coefficients * (2 * held_out - einsum("kpw,kwv->kpv", coefficients, own))
    errors = right.squares - einsum("kp,bp->kb", explained.sum(2), right.owner)
    gram = products.sum(0)
    white = einsum("pw,wv->pv", gram, one.whitening)
    sums: tuple[Any, ...] = (
        1 - errors / right.spread,
        einsum("p,bp->b", (gram**2).sum(1), right.owner),
        einsum("kvi,kvib->b", left.pairs[..., one.number], right.pairs),
        by_channel(blocks, lambda block: (block.whiten(white) ** 2).sum((1, 2))),
    )
    if weights is None:
        return LinearRow(*sums), None
    pairs = left.pairs[..., one.number]
    turned = einsum("wv,kwn->kvn", one.whitening, e)
    seen = Pass(gram, white, Fold(e, whole, turned, coefficients, pairs))
    change = changes(seen, right, blocks, weights)
    r2: Any = 1 - (errors[None] + change.errors) / (right.spread[None] + change.spread)
    changed: list[Any] = [s[None] + c for s, c in zip(sums[1:], change[2:], strict=True)]
    return LinearRow(*sums), LinearRow(r2, *changed)


_row = compiled(_of_row)


def _coefficients(
    one: _One, left: Columns, right: Columns, products: Float[Array, "fold column width"]
) -> Float[Array, "fold column width"]:
    """Return the coefficients of Ridge from a to all columns, fitted on a fold's training rows."""
    # Of all folds x stands in the place of e; then a fold's own rows go, and what is fitted.
    a, b = (
        [c.predictable_x, sign * c.predictable_e, c.fitted] for c, sign in ((left, -1), (right, 1))
    )
    moved, own = jnp.concatenate(a[:2], 2)[:, one.column], jnp.concatenate(a, 2)[:, one.column]
    total = products.sum(0) + einsum("kpr,kwr->pw", jnp.concatenate(b[:2], 2), moved)
    taken = products + einsum("kpr,kwr->kpw", jnp.concatenate(b, 2), own)
    return einsum("kpw,kwv->kpv", total[None] - taken, one.ridge)
