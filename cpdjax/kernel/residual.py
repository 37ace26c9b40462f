"""Apply a projection to rows: the residual after composition, on the scale that the probe sees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from cpdjax.kernel.moments import Moments, matmul

#: A sum over rows visits so many molecules of a fold at a time, or this share of them.
_FEW_SLOTS, _PARTS = 64, 8


class Rows(NamedTuple):
    """Hold molecules laid out by fold, one molecule per array column; weight 0 marks padding."""

    c: Float[Array, "*fold element row"]
    x: Float[Array, "*fold feature row"]
    y: Float[Array, "*fold target row"]
    weight: Float[Array, "*fold row"]


class TrainingRows(NamedTuple):
    """Hold the rows of all folds, and which of the folds are trained on."""

    rows: Rows
    folds: Int[Array, " fold"]
    #: The rows of one molecule, which lie side by side.
    width: int = 1

    def map(self, function: Callable[[Rows], Any]) -> Any:
        """Return the results of a function of one fold's rows, stacked along a fold axis."""
        # Folds run one after the other, so that only one fold's intermediate arrays are in memory.
        return lax.map(lambda k: function(Rows(*(a[k] for a in self.rows))), self.folds)

    def sum(self, function: Callable[[Rows], Array]) -> Array:
        """Return the sum over the training rows of a function that is a sum over rows itself."""
        # A small subset fills but the first slots of a fold. So a few slots are visited at a time,
        # and where all of them are padding nothing is computed.
        slots = self.rows.weight.shape[-1]
        molecules = slots // self.width
        step = min(max(_FEW_SLOTS, -(-molecules // _PARTS)), molecules) * self.width
        starts = jnp.arange(0, slots, step, dtype=self.folds.dtype)

        def part(total: Array, place: tuple[Array, ...]) -> tuple[Array, None]:
            fold, start = place
            rows = _slots(self.rows, fold, start, step)
            skipped = lambda: jnp.zeros_like(total)  # noqa: E731
            return total + lax.cond(rows.weight.any(), lambda: function(rows), skipped), None

        first = jax.eval_shape(lambda: function(_slots(self.rows, self.folds[0], starts[0], step)))
        places = tuple(a.reshape(-1) for a in jnp.meshgrid(self.folds, starts, indexing="ij"))
        return lax.scan(part, jnp.zeros_like(first), places)[0]


def _slots(rows: Rows, fold: Array, start: Array, step: int) -> Rows:
    """Return some slots of one fold; those before `start`, at the end of a fold, are padding."""
    last = rows.weight.shape[-1] - step
    c, x, y, weight = (lax.dynamic_slice_in_dim(a[fold], start, step, -1) for a in rows)
    own = jnp.minimum(start, last) + jnp.arange(step, dtype=start.dtype) >= start
    return Rows(c, x, y, jnp.where(own, weight, 0))


def varies(left: Any, variance: Any, mean: Any) -> Any:
    """Return which features have a residual that is more than rounding, for arrays of any kind.

    It is not when the residual's variance `left` is at most eps^(3/4) of the feature's own
    `variance` (composition explains the feature), or when its standard deviation is at most 100 eps
    of the feature's mean (the feature is constant).
    """
    eps = jnp.finfo(variance.dtype).eps
    return (left > eps**0.75 * variance) & (left > (100 * eps * mean) ** 2)


class Residual(NamedTuple):
    """Hold a projection fitted on training rows, which applies to any rows.

    Of features X with composition C it leaves  Z = ((X − mean_x) − (C − mean_c) b_x) · scale, and
    likewise of the targets with `b_y`, but in their own units.
    """

    mean_c: Float[Array, " element"]
    mean_x: Float[Array, " feature"]
    mean_y: Float[Array, " target"]
    b_x: Float[Array, "element feature"]
    b_y: Float[Array, "element target"]
    scale: Float[Array, " feature"]
    #: The trace of ZᵀZ over the training rows, which bounds its largest eigenvalue.
    trace: Float[Array, ""]
    #: Whether `scale` gives the features unit variance.
    scaled: bool
    #: The matrix H of the regression's leverages, (c − mean_c)ᵀ H (c − mean_c); None: no leverage.
    hat: Float[Array, "element element"] | None = None

    @classmethod
    def of(
        cls, m: Moments, variance: Array, *, standardize: bool, hat: Array | None = None
    ) -> Residual:
        """Return the residual about the regression that the moments `m` of training rows hold.

        A feature drops out, with a scale of 0, when its residual may be nothing but rounding: see
        `varies`.
        """
        mean_x, mean_y = jnp.split(m.mean, [m.features])
        b_x, b_y = jnp.split(m.b, [m.features], axis=-1)
        kept = varies(m.variance, variance, mean_x)
        deviation = jnp.sqrt(jnp.where(kept, m.variance, 1)) if standardize else 1
        scale = jnp.where(kept, 1 / deviation, 0).astype(variance.dtype)
        trace = m.n * (m.variance * scale * scale).sum()
        return cls(m.mean_c, mean_x, mean_y, b_x, b_y, scale, trace, standardize, hat)

    def leverages(self, rows: Rows, n: Float[Array, ""]) -> Float[Array, " row"]:
        """Return the leverage of every row in the regression, of `n` training rows, on composition.

        It is 1/n from the intercept and more the rarer a composition is.
        """
        c = rows.c - self.mean_c[:, None]
        own = 0 if self.hat is None else (c * matmul(self.hat, c)).sum(0)
        return (1 / n + own) * rows.weight

    def features(self, rows: Rows) -> Float[Array, "feature row"]:
        """Return Zᵀ of any rows, with zeros where a row is padding."""
        composition = matmul(self.b_x.T, rows.c - self.mean_c[:, None])
        # The mean is subtracted before the composition part, as in `moments.moments`.
        z = ((rows.x - self.mean_x[:, None]) - composition) * self.scale[:, None]
        return z * rows.weight[None]

    def targets(self, rows: Rows) -> Float[Array, "target row"]:
        """Return what composition leaves of the targets of any rows, in the targets' own units."""
        composition = matmul(self.b_y.T, rows.c - self.mean_c[:, None])
        return ((rows.y - self.mean_y[:, None]) - composition) * rows.weight[None]

    def gram(self, m: Moments) -> Float[Array, "feature feature"]:
        """Return ZᵀZ over the training rows from their moments `m`, without a visit to the rows."""
        return m.xx * self.scale[:, None] * self.scale[None]

    def cross(self, m: Moments) -> Float[Array, "feature target"]:
        """Return ZᵀY over the training rows from their moments `m`, without a visit to the rows."""
        return m.xy * self.scale[:, None]
