"""Compare one channel with all others by what is linear: R² of Ridge, CKA and CCA.

The products of one channel's columns with all columns are formed once, fold by fold. All else is
made of them at the price of a channel's width: training moments are sums of other folds' products,
less what the projection explains (see `prepared.Columns`), and errors on held-out rows follow from
the products of the fold itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from cpdjax.kernel.moments import einsum
from cpdjax.likeness.layout import padded
from cpdjax.likeness.prepared import Block, Columns, Prepared
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
    shift = left.shift[one.column]
    whole = (e + shift[None, :, None]) * left.present[:, None]
    products = einsum("kpn,kwn->kpw", right.e, e)
    coefficients = _coefficients(one, left, right, products)
    held_out = products + right.total[:, :, None] * shift[None, None]
    held_out = held_out + right.shift[None, :, None] * whole.sum(2)[:, None]
    own = einsum("kwn,kvn->kwv", whole, whole)
    # The error y − ŷ of ŷ = Σ x b has the square y² − Σ b (2 x y − Σ x x b).
    explained = coefficients * (2 * held_out - einsum("kpw,kwv->kpv", coefficients, own))
    explained = einsum("kp,bp->kb", explained.sum(2), right.owner)
    gram = products.sum(0)
    white = einsum("pw,wv->pv", gram, one.whitening)
    row = LinearRow(
        1 - (right.squares - explained) / right.spread,
        einsum("bp,p->b", right.owner, (gram**2).sum(1)),
        einsum("kvi,kvib->b", left.pairs[..., one.number], right.pairs),
        _by_block(blocks, right, lambda block: (_whitened(white, block) ** 2).sum((1, 2))),
    )
    return row, None


_row = compiled(_of_row)


def _coefficients(
    one: _One, left: Columns, right: Columns, products: Float[Array, "fold column width"]
) -> Float[Array, "fold column width"]:
    """Return the coefficients of Ridge from a to all columns, fitted on a fold's training rows."""

    def cross(b: Array, a: Array) -> Array:
        return einsum("kpr,kwr->kpw", b, a[:, one.column])

    x = products + cross(right.predictable_x, left.predictable_x)
    x = x - cross(right.predictable_e, left.predictable_e)
    training = x.sum(0, keepdims=True) - x - cross(right.fitted, left.fitted)
    return einsum("kpw,kwv->kpv", training, one.ridge)


def _by_block(
    blocks: list[Block], right: Columns, function: Callable[[Block], Array]
) -> Float[Array, "channel *more"]:
    """Return results of a function of a block, which returns one for each of its channels."""
    found = [function(block) for block in blocks]
    order = jnp.concatenate([block.channel for block in blocks])
    return jnp.zeros_like(jnp.concatenate(found)).at[order].set(jnp.concatenate(found))


def _whitened(
    products: Float[Array, "column any"], block: Block
) -> Float[Array, "member direction any"]:
    return einsum("mij,miw->mjw", block.whitening, products[block.column])
