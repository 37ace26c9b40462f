"""The residual of features and targets after composition, on the scale the probe sees."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from cpdjax.moments import Moments, einsum


class Rows(NamedTuple):
    """Molecules laid out by fold; rows of weight 0 are padding."""

    c: Float[Array, "*fold row element"]
    x: Float[Array, "*fold row feature"]
    y: Float[Array, "*fold row target"]
    weight: Float[Array, "*fold row"]


class Training(NamedTuple):
    """Moments of one fold's training rows, by block; in the dual form xx and xy are empty."""

    n: Float[Array, ""]
    mean_c: Float[Array, " element"]
    mean_x: Float[Array, " feature"]
    mean_y: Float[Array, " target"]
    cc: Float[Array, "element element"]
    cx: Float[Array, "element feature"]
    cy: Float[Array, "element target"]
    variance: Float[Array, " feature"]
    xx: Float[Array, "feature feature"]
    xy: Float[Array, "feature target"]

    @classmethod
    def of(cls, m: Moments, elements: int, features: int) -> Training:
        """Name the blocks of predictors [C, X] and responses Y, or of C and [X, Y] (dual)."""
        q, d = elements, features
        mean_x, mean_y = jnp.split(jnp.concatenate([m.mean_p[q:], m.mean_y]), [d])
        xx, xy = m.pp[q:, q:], m.py[q:]
        if m.pp.shape[-1] == q:
            cx, cy = jnp.split(m.py, [d], axis=-1)
            variance = m.yy[:d] / m.n
        else:
            cx, cy = m.pp[:q, q:], m.py[:q]
            variance = jnp.diagonal(xx) / m.n
        return cls(m.n, m.mean_p[:q], mean_x, mean_y, m.pp[:q, :q], cx, cy, variance, xx, xy)

    @property
    def dual(self) -> bool:
        """Whether features outnumber training rows, so that their moments were not taken."""
        return self.xx.shape[0] < self.cx.shape[1]


class Residual(NamedTuple):
    """Z = ((X − mean) − (C − mean) B) · scale, fitted on training rows, applied to any."""

    mean_c: Float[Array, " element"]
    mean_x: Float[Array, " feature"]
    mean_y: Float[Array, " target"]
    b_x: Float[Array, "element feature"]
    b_y: Float[Array, "element target"]
    scale: Float[Array, " feature"]
    #: Σ variance · scale² · n before the projection, from which ZᵀZ is what cancellation left.
    trace: Float[Array, ""]
    #: Whether features are of unit variance.
    scaled: bool

    @classmethod
    def of(cls, train: Training, b_x: Array, b_y: Array, *, standardize: bool) -> Residual:
        """A feature drops out (scale 0) when rounding alone could make its residual.

        That is below eps^(3/4) of its variance, where the Schur complement has lost all but a
        quarter of its digits, or below 100 eps of its mean, where it is constant.
        """
        variance = train.variance - einsum("ed,ed->d", train.cx, b_x) / train.n
        eps = jnp.finfo(variance.dtype).eps
        constant = jnp.square(100 * eps * train.mean_x)
        kept = variance > jnp.maximum(eps**0.75 * train.variance, constant)
        deviation = jnp.sqrt(jnp.where(kept, variance, 1)) if standardize else 1
        scale = jnp.where(kept, 1 / deviation, 0).astype(variance.dtype)
        trace = train.n * (train.variance * scale * scale).sum()
        b = (b_x, b_y)
        return cls(train.mean_c, train.mean_x, train.mean_y, *b, scale, trace, standardize)

    def features(self, rows: Rows) -> Float[Array, "row feature"]:
        composition = (rows.c - self.mean_c[None]) @ self.b_x
        z = ((rows.x - self.mean_x[None]) - composition) * self.scale[None]
        return z * rows.weight[:, None]

    def targets(self, rows: Rows) -> Float[Array, "row target"]:
        composition = (rows.c - self.mean_c[None]) @ self.b_y
        return ((rows.y - self.mean_y[None]) - composition) * rows.weight[:, None]

    def gram(self, train: Training) -> Float[Array, "feature feature"]:
        """ZᵀZ by Schur complement, without touching a row."""
        schur = train.xx - einsum("ed,ef->df", train.cx, self.b_x)
        return schur * self.scale[:, None] * self.scale[None]

    def cross(self, train: Training) -> Float[Array, "feature target"]:
        """ZᵀY, likewise."""
        return (train.xy - einsum("ed,et->dt", train.cx, self.b_y)) * self.scale[:, None]
