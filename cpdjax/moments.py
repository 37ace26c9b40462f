"""Second moments: the only thing CPD needs to know of its training rows.

`Moments` is a commutative monoid under `merge`: moments of folds, of nested subsets, of chunks
and of devices all combine by the same formula (Chan, Golub and LeVeque, 1979). Each block is
centred about its own mean, so nothing cancels when a mean is large, and the training moments of
a fold are merged from the other folds alone: a held-out row cannot touch them, not even by a
rounding error.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

# Accelerators round float32 products to fewer bits unless told not to.
einsum = partial(jnp.einsum, precision="highest")


class Moments(NamedTuple):
    """Number of rows n, means and centred second moments of predictors P and responses Y.

    Of the responses among themselves only the diagonal is kept: a thousand targets are cheap.
    """

    n: Float[Array, "*batch"]
    mean_p: Float[Array, "*batch predictor"]
    mean_y: Float[Array, "*batch response"]
    pp: Float[Array, "*batch predictor predictor"]
    py: Float[Array, "*batch predictor response"]
    yy: Float[Array, "*batch response"]


def moments(
    p: Float[Array, "*batch row predictor"],
    y: Float[Array, "*batch row response"],
    weight: Float[Array, "*batch row"],
) -> Moments:
    """Moments of the rows with weight 1; rows with weight 0 are padding."""
    n = weight.sum(-1)
    share = weight / jnp.maximum(n, 1)[..., None]
    mean_p = einsum("...n,...np->...p", share, p)
    mean_y = einsum("...n,...ny->...y", share, y)
    p = (p - mean_p[..., None, :]) * weight[..., None]
    y = (y - mean_y[..., None, :]) * weight[..., None]
    pp = einsum("...np,...nq->...pq", p, p)
    py = einsum("...np,...ny->...py", p, y)
    return Moments(n, mean_p, mean_y, pp, py, (y * y).sum(-2))


def merge(blocks: Moments, include: Float[Array, " block"]) -> Moments:
    """Moments of the union of blocks (leading axis), those with `include` 0 left out.

    With n = Σ nⱼ and m = Σ nⱼmⱼ / n:  S = Σ Sⱼ + Σ nⱼ (mⱼ − m)(mⱼ − m)ᵀ.
    """
    rows = blocks.n * include
    n = rows.sum()
    share = rows / jnp.maximum(n, 1)
    mean_p = share @ blocks.mean_p
    mean_y = share @ blocks.mean_y
    p = blocks.mean_p - mean_p[None]
    y = blocks.mean_y - mean_y[None]
    return Moments(
        n,
        mean_p,
        mean_y,
        einsum("b,bpq->pq", include, blocks.pp) + einsum("b,bp,bq->pq", rows, p, p),
        einsum("b,bpy->py", include, blocks.py) + einsum("b,bp,by->py", rows, p, y),
        einsum("b,by->y", include, blocks.yy) + einsum("b,by,by->y", rows, y, y),
    )
