"""Find what every molecule contributes to the sums of a row, and so how draws change them.

A contribution is the derivative of a sum in the weight of a molecule, where all weights are one.
The mean that was taken moves with the weights, but to first order that changes no product, since
the residuals' own mean is zero. In squares of single rows the change is one part in the number of
rows, and is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from cpdjax.kernel.moments import einsum
from cpdjax.likeness.blocks import Block, by_channel
from cpdjax.likeness.columns import Columns


class Fold(NamedTuple):
    """Hold what is known of channel a in the rows of one fold, or of all in front."""

    #: e of a; the held-out residuals of the fold; e whitened.
    e: Float[Array, "*fold width slot"]
    whole: Float[Array, "*fold width slot"]
    white: Float[Array, "*fold direction slot"]
    #: The coefficients of Ridge from a to all columns.
    coefficients: Float[Array, "*fold column width"]
    pairs: Float[Array, "*fold vector pair"]


class Pass(NamedTuple):
    """Hold what is known of channel a and all columns after one pass over the rows."""

    #: eᵀ e_a of all columns e, and the same with a whitened.
    gram: Float[Array, "column width"]
    white: Float[Array, "column direction"]
    folds: Fold


class Changes(NamedTuple):
    """Hold by how much sums change: a fold's squared errors and squares, and those of a row."""

    errors: Float[Array, "draw fold channel"]
    spread: Float[Array, "draw fold channel"]
    overlap: Float[Array, "draw channel"]
    diagonal: Float[Array, "draw channel"]
    canonical: Float[Array, "draw channel"]


def changes(
    seen: Pass, right: Columns, blocks: Sequence[Block], weights: Float[Array, "draw unit"]
) -> Changes:
    """Return Σ (weight − 1) · contribution, one fold after the other to save memory."""

    def of_fold(place: tuple[Fold, Array]) -> Changes:
        fold, k = place
        moves = (weights[:, right.unit[k]] - 1) * right.present[k][None]
        e = right.e[k]
        error = e + right.shift[k][:, None] - einsum("pw,wn->pn", fold.coefficients, fold.whole)
        about = e - right.centre[k][:, None]
        # A row's product with itself has its weight twice.
        single = 2 * einsum("vi,vib->bv", fold.pairs, right.pairs[k])
        of_rows = (
            einsum("bp,pn->bn", right.owner, error**2),
            einsum("bp,pn->bn", right.owner, about**2),
            2 * einsum("bp,pn->bn", right.owner, e * einsum("pw,wn->pn", seen.gram, fold.e)),
            single,
            _canonical(seen.white, fold.white, e, blocks),
        )
        # All components of a vector have one weight.
        every = [moves.shape[1] // rows.shape[1] for rows in of_rows]
        pairs = zip(every, of_rows, strict=True)
        return Changes(*(einsum("dn,bn->db", moves[:, ::step], rows) for step, rows in pairs))

    by_fold = jax.lax.map(of_fold, (seen.folds, jnp.arange(len(right.e))))
    of_folds = (jnp.moveaxis(change, 0, 1) for change in by_fold[:2])
    return Changes(*of_folds, *(change.sum(0) for change in by_fold[2:]))


def _canonical(
    gram: Float[Array, "column direction"], white: Float[Array, "direction slot"],
    e: Float[Array, "column slot"], blocks: Sequence[Block],
) -> Float[Array, "channel slot"]:  # fmt: skip
    """Return contributions to ‖R‖²_F, where R = Wᵀ G V with the whitenings W of a and V of b.

    A row adds its product to G, and takes its own squares, whitened, from both whitenings.
    """

    def of_block(block: Block) -> Float[Array, "member slot"]:
        r, other = block.whiten(gram), block.whiten(e)
        here, there = einsum("mjv,vn->mjn", r, white), einsum("mjv,mjn->mvn", r, other)
        return (here * (2 * other - here)).sum(1) - (there**2).sum(1)

    return by_channel(blocks, of_block)
