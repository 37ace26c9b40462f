"""What composition explains: ordinary least squares of every response on element counts."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from cpdjax.moments import einsum, matmul


def least_squares(
    cc: Float[Array, "element element"], cr: Float[Array, "element response"]
) -> Float[Array, "element response"]:
    """The minimum-norm solution B of  min ‖R − C B‖²  from centred moments CᵀC and CᵀR.

    Rank-deficient composition is normal: an element absent from a training fold, fractions
    that sum to one. Columns are scaled to unit variance before the rank is decided (a rare
    element is not a small one): directions with an eigenvalue below `8 · element · eps` count
    as absent. The solution is then projected off the null space in the original units, which
    makes it the one that scikit-learn's `LinearRegression` returns.
    """
    eps = jnp.finfo(cc.dtype).eps
    variance = jnp.diagonal(cc)
    present = variance > 0
    scale = jnp.where(present, 1 / jnp.sqrt(jnp.where(present, variance, 1)), 0)
    scaled = cc * scale[:, None] * scale[None] + jnp.diag((~present).astype(cc.dtype))
    eigenvalues, vectors = jnp.linalg.eigh(scaled)
    kept = eigenvalues > 8 * cc.shape[0] * eps
    inverse = jnp.where(kept, 1 / jnp.where(kept, eigenvalues, 1), 0)
    half = einsum("ed,er->dr", vectors, scale[:, None] * cr)
    solution = scale[:, None] * einsum("ed,dr->er", vectors, inverse[:, None] * half)
    null = jnp.where(kept[None], 0, scale[:, None] * vectors)  # CᵀC null = 0, original units
    null = null / jnp.where(kept, 1, jnp.linalg.norm(null, axis=0))[None]
    overlap = matmul(null.T, null) + jnp.diag(kept.astype(cc.dtype))
    for _ in range(2):  # twice is enough: the second takes away what rounding left of the first
        along = jnp.linalg.solve(overlap, matmul(null.T, solution))
        solution = solution - matmul(null, along)
    return solution
