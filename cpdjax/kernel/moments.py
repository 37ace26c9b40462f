"""Second moments: the only thing CPD needs to know of its training rows.

A block of rows is kept as its regression on composition and the second moments of what is left,

    [X, Y] = mean + (C − mean_c) b + R,

where b may be any coefficients: moments about others follow without touching a row, and without
cancelling digits where b is near the least-squares solution. `Moments` is a commutative monoid
under `merge`: folds, nested subsets, chunks and devices all combine by the same formula, that of
Chan, Golub and LeVeque (1979) with composition beside the mean. The training moments of a fold are
merged from the other folds alone: a held-out row cannot touch them, not even by a rounding error.

Rows of molecules lie columns first, each feature contiguous: products take half the time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

# Accelerators round float32 products to fewer bits unless told not to; `@` cannot be told.
einsum = partial(jnp.einsum, precision="highest")
matmul = partial(jnp.matmul, precision="highest")

#: (CᵀC, CᵀR) → coefficients.
Regression = Callable[[Array, Array], Array]


class Moments(NamedTuple):
    """Number of rows n, means, regression b and second moments of C and R.

    A response is a feature or a target, in this order. `cr` = CᵀR is zero but for rounding where
    b is the least-squares solution. Of targets among themselves nothing is kept: a thousand are
    cheap. In the dual form, where features outnumber rows, `xx` is its diagonal and `xy` is empty.
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
        """How many of the responses are features."""
        return self.xx.shape[-1]

    @property
    def dual(self) -> bool:
        """Whether these are of the dual form."""
        return self.xx.ndim == self.mean.ndim

    @property
    def variance(self) -> Float[Array, "*batch feature"]:
        """Of the features' R."""
        squares = self.xx if self.dual else jnp.diagonal(self.xx, axis1=-2, axis2=-1)
        return squares / self.n[..., None]


def moments(
    c: Float[Array, "*batch element row"],
    x: Float[Array, "*batch feature row"],
    y: Float[Array, "*batch target row"],
    weight: Float[Array, "*batch row"],
    *,
    dual: bool = False,
) -> Moments:
    """Moments of the rows with weight 1; rows with weight 0 are padding."""
    n = weight.sum(-1)
    share = (weight / jnp.maximum(n, 1)[..., None])[..., None, :]
    mean_c = (c * share).sum(-1)
    c = (c - mean_c[..., None]) * weight[..., None, :]
    cc = einsum("...en,...fn->...ef", c, c)
    both = jnp.concatenate([share, c], -2)
    first = jnp.concatenate([einsum("...en,...rn->...er", both, r) for r in (x, y)], -1)
    b = lax.stop_gradient(eliminate(cc, first[..., 1:, :]))  # any b will do
    mean = first[..., 0, :]

    def residual(r: Array, where: slice) -> Array:
        explained = einsum("...er,...en->...rn", b[..., where], c)
        return ((r - mean[..., where, None]) - explained) * weight[..., None, :]

    features = x.shape[-2]
    x, y = residual(x, slice(None, features)), residual(y, slice(features, None))
    cr = jnp.concatenate([einsum("...en,...rn->...er", c, r) for r in (x, y)], -1)
    if dual:
        xx, xy = (x * x).sum(-1), jnp.zeros((*n.shape, 0, 0), x.dtype)
    else:
        xx = einsum("...dn,...en->...de", x, x)
        xy = einsum("...dn,...tn->...dt", x, y)
    return Moments(n, mean_c, mean, cc, b, cr, xx, xy)


def eliminate(
    cc: Float[Array, "*batch element element"], cr: Float[Array, "*batch element response"]
) -> Float[Array, "*batch element response"]:
    """A solution of CᵀC b = CᵀR to half of the digits, whatever the rank: Gauss and Jordan.

    Good enough for moments, and no LAPACK call, which must not be batched on a CPU (see `ridge`).
    """
    elements = cc.shape[-1]
    eye = jnp.broadcast_to(jnp.eye(elements, dtype=cc.dtype), cc.shape)
    variance = jnp.diagonal(cc, axis1=-2, axis2=-1)
    scale = jnp.where(variance > 0, 1 / jnp.sqrt(jnp.where(variance > 0, variance, 1)), 0)
    ridge = jnp.where(variance > 0, jnp.sqrt(jnp.finfo(cc.dtype).eps), 1)
    scaled = cc * scale[..., :, None] * scale[..., None, :] + eye * ridge[..., None]

    def step(j: Array, system: Array) -> Array:
        row = system[..., j, :] / system[..., j, j, None]
        return system - (system[..., :, j] - eye[..., j])[..., None] * row[..., None, :]

    system = jnp.concatenate([scaled, scale[..., None] * cr], -1)
    solved = lax.fori_loop(0, elements, step, system)
    return scale[..., None] * solved[..., elements:]


def merge(blocks: Moments, include: Float[Array, " block"], regress: Regression) -> Moments:
    """Moments of the union of blocks (leading axis), those with `include` 0 left out.

    Every block moves to the union's regression, from its own that is d away and its mean, m away:
    RᵀR becomes RᵀR + dᵀ(CᵀR + CᵀC d / 2) + (…)ᵀ + n m mᵀ.
    """
    rows = blocks.n * include
    n = rows.sum()
    share = rows / jnp.maximum(n, 1)
    mean_c, mean = matmul(share, blocks.mean_c), matmul(share, blocks.mean)
    c, m = blocks.mean_c - mean_c[None], blocks.mean - mean[None]
    own = _moved(blocks.cr, blocks.cc, blocks.b)
    cc = einsum("b,bef->ef", include, blocks.cc) + einsum("b,be,bf->ef", rows, c, c)
    b = regress(cc, einsum("b,ber->er", include, own) + einsum("b,be,br->er", rows, c, m))
    d, m = blocks.b - b[None], m - matmul(c, b)
    moved = _moved(blocks.cr, blocks.cc, d)
    cr = einsum("b,ber->er", include, moved) + einsum("b,be,br->er", rows, c, m)
    half = include[:, None, None] * (blocks.cr + moved) / 2
    left = jnp.concatenate([d.reshape(-1, len(mean)), m])
    right = jnp.concatenate([half.reshape(-1, len(mean)), rows[:, None] * m / 2])
    xx, xy = (jnp.tensordot(include, a, 1, precision="highest") for a in (blocks.xx, blocks.xy))
    return _grown(Moments(n, mean_c, mean, cc, b, cr, xx, xy), left, right)


def about_mean(m: Moments) -> Moments:
    """The moments of the same rows about b = 0: those of [X, Y] themselves."""
    moved = _moved(m.cr, m.cc, m.b)
    return _grown(m._replace(b=jnp.zeros_like(m.b), cr=moved), m.b, (m.cr + moved) / 2)


def _moved(cr: Array, cc: Array, d: Array) -> Array:
    """CᵀR once R has become R + C d."""
    return cr + einsum("...ef,...fr->...er", cc, d)


def _grown(m: Moments, left: Array, right: Array) -> Moments:
    """With leftᵀ right + rightᵀ left added to RᵀR, both of few rows."""
    d = m.features
    if m.dual:
        return m._replace(xx=m.xx + 2 * einsum("kd,kd->d", left[:, :d], right[:, :d]))
    a, b = jnp.concatenate([left, right]), jnp.concatenate([right, left])
    return m._replace(
        xx=m.xx + einsum("kd,ke->de", a[:, :d], b[:, :d]),
        xy=m.xy + einsum("kd,kt->dt", a[:, :d], b[:, d:]),
    )
