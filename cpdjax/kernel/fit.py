"""Ridge from a residual to the targets: primal or dual, on a grid of α or by leave-one-out."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from cpdjax.kernel import ridge
from cpdjax.kernel.moments import Moments, einsum, matmul
from cpdjax.kernel.residual import Residual, Rows, TrainingRows

#: (residuals, Vᵀz, 1/(λ + α), weight, rows) → squared leave-one-out errors, by target.
LeaveOut = Callable[[Array, Array, Array, Array, Array], Float[Array, " target"]]


class Fit(NamedTuple):
    """Held-out predictions, and the α that made them."""

    prediction: Float[Array, "alpha target row"]
    alpha: Float[Array, "alpha target"]


def one_row(left: Array, u: Array, shrunk: Array, weight: Array, n: Array) -> Array:
    """Leave out one row of a fit with an intercept, which takes 1/n of the leverage."""
    return _loo_error(left, 1 - 1 / n - matmul(shrunk, jnp.square(u)), weight)


def primal(
    residual: Residual,
    m: Moments,
    training: TrainingRows,
    held_out: Rows,
    alphas: Float[Array, " alpha"],
    *,
    loo: bool,
    leave_out: LeaveOut = one_row,
) -> Fit:
    """(ZᵀZ + αI) w = ZᵀY from the moments; a grid of well-conditioned α visits no row."""
    cross = residual.cross(m)

    def defect(w: Array, alphas: Array, needed: Bool[Array, " alpha"]) -> Array:
        def of_fold(rows: Rows) -> Array:
            z, y = residual.features(rows), residual.targets(rows)
            rest = lambda w: einsum("tn,dn->td", y - matmul(w.T, z), z).T  # noqa: E731
            return _where_needed(needed, rest, w)

        return training.sum(of_fold) - alphas[:, None] * w

    def errors(s: ridge.Spectrum) -> Array:
        def of_fold(rows: Rows) -> Array:
            u = matmul(s.vectors.T, residual.features(rows))
            y = (rows.y - residual.mean_y[:, None]) * rows.weight[None]

            def error(alpha: Array) -> Array:
                shrunk = 1 / (s.eigenvalues + alpha)
                left = y - matmul((shrunk[:, None] * matmul(s.vectors.T, cross)).T, u)
                return leave_out(left, u, shrunk, rows.weight, m.n)

            return lax.map(error, alphas)

        return training.sum(of_fold)

    z = residual.features(held_out)
    fit = _fit(residual.gram(m), cross, z, alphas, defect, residual, errors if loo else None)
    return fit._replace(prediction=residual.mean_y[None, :, None] + fit.prediction)


def dual(
    residual: Residual,
    m: Moments,
    training: TrainingRows,
    held_out: Rows,
    alphas: Float[Array, " alpha"],
    *,
    loo: bool,
) -> Fit:
    """(ZZᵀ + αI) a = Y, w = Zᵀa, for more features than rows.

    Y's own composition part is projected out first: Zᵀ does not see it, but a would be of size
    1/α along it.
    """

    def seen(rows: Rows) -> tuple[Array, ...]:
        centred = (rows.y - residual.mean_y[:, None]) * rows.weight[None]
        z, y = residual.features(rows), residual.targets(rows)
        return z.T, y.T, centred.T, rows.weight

    z, y, centred, weight = (a.reshape(-1, *a.shape[2:]) for a in training.map(seen))
    gram = einsum("nd,md->nm", z, z)

    def defect(a: Array, alphas: Array, needed: Bool[Array, " alpha"]) -> Array:
        rest = lambda a: y - matmul(z, matmul(z.T, a))  # noqa: E731
        return _where_needed(needed, rest, a) - alphas[:, None] * a

    def errors(s: ridge.Spectrum) -> Array:
        def error(alpha: Array) -> Array:
            shrunk = 1 / (s.eigenvalues + alpha)
            fitted = matmul(s.vectors, shrunk[:, None] * matmul(s.vectors.T, y))
            left = alpha * fitted + (centred - y)
            kept = alpha * matmul(jnp.square(s.vectors), shrunk) - 1 / m.n
            return _loo_error(left.T, kept, weight)

        return lax.map(error, alphas)

    held = matmul(z, residual.features(held_out))
    fit = _fit(gram, y, held, alphas, defect, residual, errors if loo else None)
    return fit._replace(prediction=residual.mean_y[None, :, None] + fit.prediction)


def _fit(
    gram: Float[Array, "n n"],
    rhs: Float[Array, "n target"],
    held: Float[Array, "n row"],
    alphas: Float[Array, " alpha"],
    defect: ridge.Defect,
    residual: Residual,
    errors: Callable[[ridge.Spectrum], Float[Array, "alpha target"]] | None,
) -> Fit:
    """rhsᵀ (S + αI)⁻¹ held, for a grid of α or for what leave-one-out errors choose."""

    def by_weights(refine: ridge.Refinement, solve: ridge.Solve) -> Array:
        weights = refine(solve(ridge.tile(rhs, len(refine.alphas))), solve)
        return einsum("adt,dn->atn", weights, held)

    if errors is not None:
        s = ridge.spectrum(gram)
        best = alphas[jnp.argmin(errors(s), axis=0)][None]
        refine = ridge.Refinement(defect, best, residual.trace)
        return Fit(by_weights(refine, ridge.spectral(gram, s, best)), best)

    refine = ridge.Refinement(defect, alphas[:, None], residual.trace)

    def use(solve: ridge.Solve) -> Array:
        def by_rows() -> Array:
            solved = solve(ridge.tile(held, len(alphas)))
            return jnp.stack([matmul(rhs.T, s) for s in solved])  # einsum would transpose both

        if rhs.shape[-1] <= held.shape[-1]:
            return by_weights(refine, solve)
        # Fewer held-out rows than targets: solve for those, unless weights must be refined.
        return lax.cond(refine.needed.any(), lambda: by_weights(refine, solve), by_rows)

    prediction = ridge.on_grid(gram, alphas, use, scaled=residual.scaled)
    return Fit(prediction, jnp.broadcast_to(alphas[:, None], (len(alphas), rhs.shape[-1])))


def _where_needed(needed: Bool[Array, " alpha"], f: Callable[[Array], Array], w: Array) -> Array:
    """f of the weights of every α, or zeros."""

    def one(args: tuple[Array, Array]) -> Array:
        needed, w = args
        return lax.cond(needed, lambda: f(w), lambda: jnp.zeros_like(w))

    return lax.map(one, (needed, w))


def _loo_error(left: Array, kept: Array, weight: Array) -> Float[Array, " target"]:
    """Σ (rᵢ / (1 − hᵢ))²: the squared leave-one-out errors of a linear smoother.

    `left` holds its residuals r, `kept` its 1 − h (Golub, Heath and Wahba, 1979).
    """
    floor = jnp.finfo(kept.dtype).eps
    loo = left / jnp.maximum(kept, floor)[None]
    return einsum("n,tn->t", weight, loo * loo)
