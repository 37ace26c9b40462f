"""The residual of features and targets after composition, on the scale the probe sees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from cpdjax.kernel.moments import Moments, matmul


class Rows(NamedTuple):
    """Molecules laid out by fold, columns first; rows of weight 0 are padding."""

    c: Float[Array, "*fold element row"]
    x: Float[Array, "*fold feature row"]
    y: Float[Array, "*fold target row"]
    weight: Float[Array, "*fold row"]


class TrainingRows(NamedTuple):
    """The rows of all folds, and which of them are trained on."""

    rows: Rows
    folds: Int[Array, " fold"]

    def map(self, function: Callable[[Rows], Any]) -> Any:
        """A function of one fold's rows, fold by fold: results have a leading axis (fold,)."""
        return lax.map(lambda k: function(Rows(*(a[k] for a in self.rows))), self.folds)

    def sum(self, function: Callable[[Rows], Array]) -> Array:
        """The same, summed over folds."""
        found = self.map(function)
        return jnp.tensordot(jnp.ones(len(found), found.dtype), found, 1, precision="highest")


class Residual(NamedTuple):
    """Z = ((X − mean) − (C − mean) B) · scale, fitted on training rows, applied to any."""

    mean_c: Float[Array, " element"]
    mean_x: Float[Array, " feature"]
    mean_y: Float[Array, " target"]
    b_x: Float[Array, "element feature"]
    b_y: Float[Array, "element target"]
    scale: Float[Array, " feature"]
    #: Of ZᵀZ.
    trace: Float[Array, ""]
    #: Whether features are of unit variance.
    scaled: bool

    @classmethod
    def of(cls, m: Moments, variance: Array, *, standardize: bool) -> Residual:
        """The residual that the moments of training rows speak of.

        A feature drops out (scale 0) when rounding alone could make its residual: below eps^(3/4)
        of its `variance`, or below 100 eps of its mean, where it is constant.
        """
        mean_x, mean_y = jnp.split(m.mean, [m.features])
        b_x, b_y = jnp.split(m.b, [m.features], axis=-1)
        eps = jnp.finfo(variance.dtype).eps
        constant = jnp.square(100 * eps * mean_x)
        kept = m.variance > jnp.maximum(eps**0.75 * variance, constant)
        deviation = jnp.sqrt(jnp.where(kept, m.variance, 1)) if standardize else 1
        scale = jnp.where(kept, 1 / deviation, 0).astype(variance.dtype)
        trace = m.n * (m.variance * scale * scale).sum()
        return cls(m.mean_c, mean_x, mean_y, b_x, b_y, scale, trace, standardize)

    def features(self, rows: Rows) -> Float[Array, "feature row"]:
        """Zᵀ of any rows, zero where these are padding."""
        composition = matmul(self.b_x.T, rows.c - self.mean_c[:, None])
        z = ((rows.x - self.mean_x[:, None]) - composition) * self.scale[:, None]
        return z * rows.weight[None]

    def targets(self, rows: Rows) -> Float[Array, "target row"]:
        """What composition leaves of the targets, in their own units, likewise."""
        composition = matmul(self.b_y.T, rows.c - self.mean_c[:, None])
        return ((rows.y - self.mean_y[:, None]) - composition) * rows.weight[None]

    def gram(self, m: Moments) -> Float[Array, "feature feature"]:
        """ZᵀZ, without touching a row."""
        return m.xx * self.scale[:, None] * self.scale[None]

    def cross(self, m: Moments) -> Float[Array, "feature target"]:
        """ZᵀY, likewise."""
        return m.xy * self.scale[:, None]
