"""Score held-out predictions."""

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
    """Return  R² = 1 − Σ(y − ŷ)² / Σ(y − ȳ)²  over the rows of weight 1.

    The mean ȳ is that of the same rows. The result equals scikit-learn's `r2_score`, except that
    for a target without variance it is NaN rather than 0 or 1.
    """
    count = jnp.maximum(weight.sum(), 1)
    mean = matmul(y, weight) / count
    centred = (y - mean[:, None]) * weight[None]
    total = (centred * centred).sum(-1)
    # The values of a constant target differ from their computed mean by rounding: a spread of no
    # more than that is no variance.
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
    """Return  R² = 1 − Σ‖y − ŷ‖² / Σ‖y‖²  of tensors, or NaN for a target that is zero throughout.

    Each row holds one component of one molecule's tensor, with weight 0 for padding. The variance
    is taken about zero, since zero is the only tensor that no rotation changes: so the score stays
    the same however each molecule is turned. The usual R², component by component about the
    held-out mean, does not, because that mean depends on the orientation in which every molecule
    happens to be stored.
    """
    total = einsum("n,tn->t", weight, jnp.square(y))
    expand = (None,) * (prediction.ndim - y.ndim)
    error = einsum("n,...tn->...t", weight, jnp.square(y[expand] - prediction))
    ratio = error / jnp.where(total > 0, total, 1)[expand]
    return jnp.where((total > 0)[expand], 1 - ratio, jnp.nan)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Scores:
    """Hold the scores of CPD, fold by fold; a learning curve has leading axes (repeat, size).

    - `r2_geom`: R² of the probe on the residual, which is what the projection leaves of the
      features.
    - `r2_full`: R² of the same probe on the raw features.
    - `r2_comp`: R² of least squares from composition alone.
    - `composition_share`: the share of the training rows' feature variance that the projection
      takes away, which is by default the share that composition explains. Every feature counts as
      much as the probe makes of it: all equally when standardised.
    - `alpha_geom` and `alpha_full`: the α behind every score. This is the grid itself or, with
      `alphas="loo"`, the value that leave-one-out chose.
    - `prediction`: on request, the held-out prediction from the residual for every molecule.
    - `r2_both`: on request, R² of composition and residual together, which is the sum of least
      squares from composition and Ridge from the residual.
    """

    r2_geom: Float[Array, "*curve fold alpha target"]
    r2_full: Float[Array, "*curve fold alpha target"]
    r2_comp: Float[Array, "*curve fold target"]
    composition_share: Float[Array, "*curve fold"]
    alpha_geom: Float[Array, "*curve fold alpha target"]
    alpha_full: Float[Array, "*curve fold alpha target"]
    prediction: Float[Array, "*curve alpha molecule target"] | None = None
    r2_both: Float[Array, "*curve fold alpha target"] | None = None
