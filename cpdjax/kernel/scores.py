"""Scores of held-out predictions."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from cpdjax.kernel.moments import einsum, matmul


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


def tensor_r2(
    y: Float[Array, "target row"],
    prediction: Float[Array, "*alpha target row"],
    weight: Float[Array, " row"],
) -> Float[Array, "*alpha target"]:
    """R² = 1 − Σ‖y − ŷ‖² / Σ‖y‖² of tensors, a row a component; weight 0 for padding.

    About zero, the only tensor that turns with nothing: so the score is the same however each
    molecule is turned. (The usual R², component by component about the held-out mean, is not: that
    mean is an accident of how the molecules lie in their files.) NaN where every y is zero.
    """
    total = einsum("n,tn->t", weight, jnp.square(y))
    expand = (None,) * (prediction.ndim - y.ndim)
    error = einsum("n,...tn->...t", weight, jnp.square(y[expand] - prediction))
    ratio = error / jnp.where(total > 0, total, 1)[expand]
    return jnp.where((total > 0)[expand], 1 - ratio, jnp.nan)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Scores:
    """What CPD says, fold by fold; a learning curve has leading axes (repeat, size).

    `alpha_geom` and `alpha_full` hold the α behind every score: the grid itself, or, with
    `alphas="loo"`, what leave-one-out chose. `composition_share` is the share of the training
    rows' feature variance that the projection takes away (by default: that composition
    explains), every feature weighted as the probe sees it (equally when standardised).
    `prediction` holds, on request, every molecule's held-out prediction from the residual.
    `r2_both` is, on request, R² of composition and residual together: least squares from the
    one plus Ridge from the other.
    """

    r2_geom: Float[Array, "*curve fold alpha target"]
    r2_full: Float[Array, "*curve fold alpha target"]
    r2_comp: Float[Array, "*curve fold target"]
    composition_share: Float[Array, "*curve fold"]
    alpha_geom: Float[Array, "*curve fold alpha target"]
    alpha_full: Float[Array, "*curve fold alpha target"]
    prediction: Float[Array, "*curve alpha molecule target"] | None = None
    r2_both: Float[Array, "*curve fold alpha target"] | None = None
