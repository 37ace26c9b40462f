"""Scores of held-out predictions."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from cpdjax.moments import matmul


def r2_score(
    y: Float[Array, "target row"],
    prediction: Float[Array, "*alpha target row"],
    weight: Float[Array, " row"],
) -> Float[Array, "*alpha target"]:
    """R² = 1 − Σ(y − ŷ)² / Σ(y − ȳ)² over the rows of weight 1, about their own mean.

    As scikit-learn's `r2_score`, except for a target without variance: NaN, not 0 or 1.
    """
    count = jnp.maximum(weight.sum(), 1)
    mean = matmul(y, weight) / count
    centred = (y - mean[:, None]) * weight[None]
    total = (centred * centred).sum(-1)
    rounding = jnp.finfo(y.dtype).eps * jnp.abs(mean) * 4
    varies = total > count * rounding * rounding
    expand = (None,) * (prediction.ndim - y.ndim)
    error = matmul(jnp.square(y[expand] - prediction), weight)
    ratio = error / jnp.where(varies, total, 1)[expand]
    return jnp.where(varies[expand], 1 - ratio, jnp.nan)
