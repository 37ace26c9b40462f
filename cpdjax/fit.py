"""Ridge from a residual to the targets: primal or dual, on a grid of α or by leave-one-out."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from cpdjax import ridge
from cpdjax.moments import einsum
from cpdjax.residual import Residual, Rows, Training


class Fit(NamedTuple):
    """Held-out predictions, and the α that made them."""

    prediction: Float[Array, "alpha row target"]
    alpha: Float[Array, "alpha target"]


def primal(
    residual: Residual,
    train: Training,
    rows: Callable[[], Rows],
    held_out: Rows,
    alphas: Float[Array, " alpha"],
    *,
    loo: bool,
) -> Fit:
    """(ZᵀZ + αI) w = ZᵀY from the moments.

    `rows` makes the training rows: a function, since a grid of well-conditioned α never asks.
    """
    gram, cross = residual.gram(train), residual.cross(train)

    def fetch() -> ridge.Rows:
        seen = rows()
        z, y = residual.features(seen), residual.targets(seen)

        def defect(w: Array, alpha: Array, y: Array) -> Array:
            return einsum("nd,nt->dt", z, y - z @ w) - alpha[None] * w

        return ridge.Rows(y, lambda w: z @ w, defect)

    def errors(s: ridge.Spectrum, alpha: Array) -> Array:
        seen = rows()
        u = residual.features(seen) @ s.vectors
        shrunk = 1 / (s.eigenvalues + alpha)
        centred = (seen.y - train.mean_y[None]) * seen.weight[:, None]
        left = centred - u @ (shrunk[:, None] * (s.vectors.T @ cross))
        return _loo_error(left, 1 - 1 / train.n - jnp.square(u) @ shrunk, seen.weight)

    share = len(gram) / train.n
    weights, alpha = _solve(gram, cross, alphas, fetch, residual, share, errors if loo else None)
    z = residual.features(held_out)
    return Fit(train.mean_y[None, None] + einsum("nd,adt->ant", z, weights), alpha)


def dual(
    residual: Residual,
    train: Training,
    rows: Callable[[], Rows],
    held_out: Rows,
    alphas: Float[Array, " alpha"],
    *,
    loo: bool,
) -> Fit:
    """(ZZᵀ + αI) a = Y, w = Zᵀa, for more features than rows.

    Y's own composition part is projected out first: Zᵀ does not see it, but a would be of size
    1/α along it.
    """
    seen = rows()
    z, y = residual.features(seen), residual.targets(seen)
    gram = einsum("nd,md->nm", z, z)

    def fetch() -> ridge.Rows:
        def defect(a: Array, alpha: Array, y: Array) -> Array:
            return y - z @ (z.T @ a) - alpha[None] * a

        return ridge.Rows(y, lambda a: z @ (z.T @ a), defect)

    def errors(s: ridge.Spectrum, alpha: Array) -> Array:
        shrunk = 1 / (s.eigenvalues + alpha)
        centred = (seen.y - train.mean_y[None]) * seen.weight[:, None]
        left = alpha * (s.vectors @ (shrunk[:, None] * (s.vectors.T @ y))) + (centred - y)
        kept = alpha * (jnp.square(s.vectors) @ shrunk) - 1 / train.n
        return _loo_error(left, kept, seen.weight)

    share = jnp.ones_like(train.n)
    weights, alpha = _solve(gram, y, alphas, fetch, residual, share, errors if loo else None)
    held = residual.features(held_out) @ z.T
    return Fit(train.mean_y[None, None] + einsum("nm,amt->ant", held, weights), alpha)


def _solve(
    gram: Array,
    rhs: Array,
    alphas: Array,
    rows: Callable[[], ridge.Rows],
    residual: Residual,
    share: Array,
    errors: Callable[[ridge.Spectrum, Array], Array] | None,
) -> tuple[Array, Array]:
    """Weights (alpha, n, target) and their α (alpha, target)."""
    if errors is None:
        refine = ridge.Refinement(rows, alphas[:, None], residual.trace, share, residual.scaled)
        weights = ridge.solve_grid(gram, rhs, alphas, refine, scaled=residual.scaled)
        return weights, jnp.broadcast_to(alphas[:, None], (len(alphas), rhs.shape[-1]))
    s = ridge.spectrum(gram)
    best = alphas[jnp.argmin(lax.map(lambda a: errors(s, a), alphas), axis=0)][None]
    refine = ridge.Refinement(rows, best, residual.trace, share, residual.scaled)
    return ridge.solve_spectral(gram, s, rhs, best, refine), best


def _loo_error(left: Array, kept: Array, weight: Array) -> Float[Array, " target"]:
    """Σ (rᵢ / (1 − hᵢ))²: the squared leave-one-out errors of a linear smoother.

    `left` holds its residuals r, `kept` its 1 − h (Golub, Heath and Wahba, 1979).
    """
    floor = jnp.finfo(kept.dtype).eps
    loo = left / jnp.maximum(kept, floor)[:, None]
    return einsum("n,nt->t", weight, loo * loo)
