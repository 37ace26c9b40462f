"""Summarise training rows by their second moments, which are all that CPD needs to know of them.

A block of rows is kept as its regression on composition and the second moments of what is left:

    [X, Y] = mean + (C − mean_c) b + R.

The coefficients b need not be those of least squares: moments about any others follow without a
visit to the rows. No digits cancel on the way as long as they are near the least-squares solution,
since the residual R is then as small as it can be.

Moments form a commutative monoid under `merge`. Folds, nested subsets, chunks and devices all
combine by the same formula: that of Chan, Golub and LeVeque (1979), with composition beside the
mean. The training moments of a fold are merged from the moments of the other folds, rather than
found by subtracting its own from those of all rows. So a held-out row cannot reach them, not even
through a rounding error.

Arrays hold one molecule per column, so that the values of each feature are contiguous in memory:
matrix products then take half the time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

# Accelerators round the factors of float32 products to fewer bits unless the precision is asked
# for. The operator `@` has no argument for that, so the kernel never uses it.
einsum = partial(jnp.einsum, precision="highest")
matmul = partial(jnp.matmul, precision="highest")


def diagonal(a: Float[Array, "*batch n n"]) -> Float[Array, "*batch n"]:
    """Return the diagonals of square matrices."""
    # A slice with a stride compiles in a fraction of the time of `jnp.diagonal`, which gathers.
    n = a.shape[-1]
    return a.reshape(*a.shape[:-2], n * n)[..., :: n + 1]


#: A function that returns the coefficients of a regression on composition from CᵀC and CᵀR.
Regression = Callable[[Array, Array], Array]


class Moments(NamedTuple):
    """Hold the count, means, regression on composition and second moments of a block of rows.

    A response is a feature or a target; features come first. In the list, the letter R stands for
    what the regression leaves of the responses (see the module's docstring), and C stands for
    composition about its mean.

    - `n`: the number of rows.
    - `mean_c` and `mean`: the means of composition and of the responses.
    - `cc`: CᵀC.
    - `b`: the coefficients of the regression, in units of the response per unit of composition.
    - `cr`: CᵀR, which is zero up to rounding where the regression is least squares.
    - `xx`: RᵀR of the features. In the dual form, where features outnumber rows, its diagonal.
    - `xy`: RᵀR between features and targets. In the dual form it is empty.

    Nothing is kept of targets among themselves, so that a thousand targets stay cheap.
    """

    n: Float[Array, "*batch"]
    mean_c: Float[Array, "*batch element"]
    mean: Float[Array, "*batch response"]
    cc: Float[Array, "*batch element element"]
    b: Float[Array, "*batch element response"]
    cr: Float[Array, "*batch element response"]
    xx: Float[Array, "*batch feature feature"] | Float[Array, "*batch feature"]
    xy: Float[Array, "*batch feature target"]

    @property
    def features(self) -> int:
        """Return how many of the responses are features."""
        return self.xx.shape[-1]

    @property
    def dual(self) -> bool:
        """Return whether the moments have the dual form, for more features than rows."""
        return self.xx.ndim == self.mean.ndim

    @property
    def variance(self) -> Float[Array, "*batch feature"]:
        """Return the variance of what the regression leaves of every feature."""
        squares = self.xx if self.dual else diagonal(self.xx)
        return squares / self.n[..., None]


def moments(
    c: Float[Array, "*batch element row"],
    x: Float[Array, "*batch feature row"],
    y: Float[Array, "*batch target row"],
    weight: Float[Array, "*batch row"],
    *,
    dual: bool = False,
) -> Moments:
    """Return the moments of the rows with weight 1; a row with weight 0 is padding."""
    n = weight.sum(-1)
    # Means are subtracted before any product is formed: products of values whose mean is many
    # times their spread would be rounded at the size of the mean squared. A block without rows
    # has means of zero, not NaN.
    share = (weight / jnp.maximum(n, 1)[..., None])[..., None, :]
    mean_c = (c * share).sum(-1)
    c = (c - mean_c[..., None]) * weight[..., None, :]
    cc = einsum("...en,...fn->...ef", c, c)
    # One pass over the responses gives their means and their products with C together. For these
    # products the responses need not be centred, since the centred columns of C sum to zero. What
    # they lose by rounding where a mean is large, a rough b can bear.
    both = jnp.concatenate([share, c], -2)
    sums = jnp.concatenate([einsum("...en,...rn->...er", both, r) for r in (x, y)], -1)
    # Whatever is computed from moments is the same for any b, so its derivative in b is zero and
    # need not be taken. For the same reason the rough solution of `eliminate` is good enough.
    b = lax.stop_gradient(eliminate(cc, sums[..., 1:, :]))
    mean = sums[..., 0, :]

    def residual(r: Array, where: slice) -> Array:
        explained = einsum("...er,...en->...rn", b[..., where], c)
        # The mean goes first: the difference r − mean is small and nearly exact, whereas the sum
        # mean + explained would be rounded at the size of the mean.
        return ((r - mean[..., where, None]) - explained) * weight[..., None, :]

    features = x.shape[-2]
    x, y = residual(x, slice(None, features)), residual(y, slice(features, None))
    # With exact least squares this product is zero. The rest that a rough b leaves is kept, for
    # `merge` to correct.
    cr = jnp.concatenate([einsum("...en,...rn->...er", c, r) for r in (x, y)], -1)
    # Where features outnumber rows, a matrix of features by features would be larger than the
    # rows themselves. The dual form works on the rows and asks only for the features' variance.
    if dual:
        xx, xy = (x * x).sum(-1), jnp.zeros((*n.shape, 0, 0), x.dtype)
    else:
        xx = einsum("...dn,...en->...de", x, x)
        xy = einsum("...dn,...tn->...dt", x, y)
    return Moments(n, mean_c, mean, cc, b, cr, xx, xy)


def eliminate(
    cc: Float[Array, "*batch element element"], cr: Float[Array, "*batch element response"]
) -> Float[Array, "*batch element response"]:
    """Return a solution b of CᵀC b = CᵀR that is right to half of the digits, whatever the rank.

    Half of the digits are enough for moments, which may be about any coefficients.
    """
    elements = cc.shape[-1]
    eye = jnp.broadcast_to(jnp.eye(elements, dtype=cc.dtype), cc.shape)
    # Columns are scaled to unit length, so that the ridge means the same to a rare element as to
    # a common one. A ridge of √eps keeps every pivot positive in the given order of columns, even
    # where they are linearly dependent; this is what costs half of the digits. An absent element
    # gets a diagonal of 1 and a scale of 0, and so a coefficient of zero.
    variance = diagonal(cc)
    scale = jnp.where(variance > 0, 1 / jnp.sqrt(jnp.where(variance > 0, variance, 1)), 0)
    ridge = jnp.where(variance > 0, jnp.sqrt(jnp.finfo(cc.dtype).eps), 1)
    scaled = cc * scale[..., :, None] * scale[..., None, :] + eye * ridge[..., None]

    return scale[..., None] * gauss_jordan(scaled, scale[..., None] * cr)


def gauss_jordan(
    a: Float[Array, "*batch n n"], b: Float[Array, "*batch n column"]
) -> Float[Array, "*batch n column"]:
    """Return the solutions of small positive definite systems, by elimination without pivoting."""
    # The elimination consists of plain array operations, which run over a batch at once. LAPACK's
    # calls must not be batched on a CPU (see `lapack`). For a few columns it costs next to nothing.
    n = a.shape[-1]
    eye = jnp.broadcast_to(jnp.eye(n, dtype=a.dtype), a.shape)

    def step(j: Array, system: Array) -> Array:
        # This takes from every other row what it has in column j, and divides row j itself by its
        # pivot. The identity's column j brings both into one expression, without a branch.
        row = system[..., j, :] / system[..., j, j, None]
        return system - (system[..., :, j] - eye[..., j])[..., None] * row[..., None, :]

    return lax.fori_loop(0, n, step, jnp.concatenate([a, b], -1))[..., n:]


def merge(blocks: Moments, include: Float[Array, " block"], regress: Regression) -> Moments:
    """Return the moments of the union of blocks, which lie along the leading axis.

    Blocks where `include` is 0 are left out. The union's regression is that which `regress` makes
    of the union's CᵀC and CᵀR. Every block moves to it from its own: with d for the difference of
    their coefficients and m for the distance of the block's mean from the union's regression, the
    second moments RᵀR of the block become

        RᵀR + dᵀ (CᵀR + CᵀC d / 2) + (CᵀR + CᵀC d / 2)ᵀ d + n mᵀ m.
    """
    # A block that is left out enters every sum times an exact zero, so that its values cannot
    # change even the last bit of the union's moments.
    rows = blocks.n * include
    n = rows.sum()
    share = rows / jnp.maximum(n, 1)
    mean_c, mean = matmul(share, blocks.mean_c), matmul(share, blocks.mean)
    c, m = blocks.mean_c - mean_c[None], blocks.mean - mean[None]
    # The union's regression comes first. Its CᵀC and CᵀR are those within blocks plus those
    # between the blocks' means; within a block, responses are taken about the mean alone.
    about_means = _shifted_cross(blocks.cr, blocks.cc, blocks.b)
    cc = einsum("b,bef->ef", include, blocks.cc) + einsum("b,be,bf->ef", rows, c, c)
    b = regress(cc, einsum("b,ber->er", include, about_means) + einsum("b,be,br->er", rows, c, m))
    # Then every block moves to it: on the rows of a block, the residual R becomes R + C d + m.
    d, m = blocks.b - b[None], m - matmul(c, b)
    moved = _shifted_cross(blocks.cr, blocks.cc, d)
    cr = einsum("b,ber->er", include, moved) + einsum("b,be,br->er", rows, c, m)
    # What this adds to RᵀR has low rank: `element` rows for the change of coefficients and one for
    # the mean, of each block. Written as leftᵀ right + rightᵀ left, with half of the quadratic term
    # on either side, all blocks are added in one product.
    half = include[:, None, None] * (blocks.cr + moved) / 2
    left = jnp.concatenate([d.reshape(-1, len(mean)), m])
    right = jnp.concatenate([half.reshape(-1, len(mean)), rows[:, None] * m / 2])
    xx, xy = (jnp.tensordot(include, a, 1, precision="highest") for a in (blocks.xx, blocks.xy))
    return _add_low_rank(Moments(n, mean_c, mean, cc, b, cr, xx, xy), left, right)


def about_mean(m: Moments) -> Moments:
    """Return the moments of the same rows about b = 0, which are those of [X, Y] themselves."""
    # As the residual R becomes R + C b, its second moments grow by bᵀ CᵀR + (CᵀR)ᵀ b + bᵀ CᵀC b.
    # Half of the quadratic term goes to either side, as in `merge`.
    moved = _shifted_cross(m.cr, m.cc, m.b)
    return _add_low_rank(m._replace(b=jnp.zeros_like(m.b), cr=moved), m.b, (m.cr + moved) / 2)


def _shifted_cross(cr: Array, cc: Array, d: Array) -> Array:
    """Return the product CᵀR for the residual R + C d in the place of R."""
    return cr + einsum("...ef,...fr->...er", cc, d)


def _add_low_rank(m: Moments, left: Array, right: Array) -> Moments:
    """Return the moments with leftᵀ right + rightᵀ left added to RᵀR; both have few rows."""
    d = m.features
    if m.dual:
        return m._replace(xx=m.xx + 2 * einsum("kd,kd->d", left[:, :d], right[:, :d]))
    # Stacked in both orders, the two products are one, which reads and writes `xx` once.
    a, b = jnp.concatenate([left, right]), jnp.concatenate([right, left])
    return m._replace(
        xx=m.xx + einsum("kd,ke->de", a[:, :d], b[:, :d]),
        xy=m.xy + einsum("kd,kt->dt", a[:, :d], b[:, d:]),
    )
