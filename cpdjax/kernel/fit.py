"""Fit Ridge from the residual to the targets and predict held-out rows.

The fit is `primal`, from moments of features, or `dual`, from products of rows. Its α is every
value of a grid, or the value of the grid with the smallest leave-one-out error for each target.

In formulas, the matrix Z holds the residual features, one row per molecule (see
`residual.Residual`), and the matrix Y holds the targets.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from cpdjax.kernel import ridge
from cpdjax.kernel.components import Components, principal
from cpdjax.kernel.moments import Moments, einsum, matmul
from cpdjax.kernel.residual import Residual, Rows, TrainingRows

#: A function of the residuals of a fit, Vᵀ Zᵀ, 1 / (λ + α), the weights of the rows and their
#: leverages in the regression on composition. It returns the sum of squared leave-one-out errors of
#: every target.
LeaveOut = Callable[[Array, Array, Array, Array, Array], Float[Array, " target"]]


class Fit(NamedTuple):
    """Hold held-out predictions, and the α behind each of them."""

    prediction: Float[Array, "alpha target row"]
    alpha: Float[Array, "alpha target"]


def fitted(
    residual: Residual,
    m: Moments,
    training: TrainingRows,
    held_out: Rows,
    alphas: Float[Array, " alpha"],
    *,
    components: int | None = None,
    **how: Any,
) -> Fit:
    """Return the fit in the form of the moments, or on the first principal `components`.

    Where the smaller of rows and features are no more than `components`, all of them are used.
    The components are those of all training rows, also where leave-one-out chooses α: composition
    and weights are fitted anew without the molecule, but the directions stay (our choice).
    """
    rows = len(training.folds) * training.rows.weight.shape[-1]
    if components is not None and components < (rows if m.dual else m.features):
        reduced = principal(residual, m, training, components)
        return primal(reduced, m, training, held_out, alphas, **how)
    return (dual if m.dual else primal)(residual, m, training, held_out, alphas, **how)


def one_row(left: Array, u: Array, shrunk: Array, weight: Array, leverages: Array) -> Array:
    """Return the squared errors of leaving out one row at a time."""
    # The leverage of a row has two parts: that of the regression on composition, intercept
    # included, and from Ridge the squares of the row's components along the eigenvectors, each
    # divided by λ + α. They add up because the residual is orthogonal to composition.
    return _loo_error(left, 1 - matmul(shrunk, jnp.square(u)), leverages, weight)


def primal(
    residual: Residual | Components,
    m: Moments,
    training: TrainingRows,
    held_out: Rows,
    alphas: Float[Array, " alpha"],
    *,
    loo: bool,
    refine: bool = True,
    leave_out: LeaveOut = one_row,
) -> Fit:
    """Return the fit  (ZᵀZ + αI) w = ZᵀY  from the moments `m` of the training rows.

    A grid of α that are all well conditioned visits no training row, and without `refine` none
    does. With `loo`, each target gets the α for which the errors that `leave_out` computes are
    smallest: those of composition and features together, both fitted without the row.
    """
    cross = residual.cross(m)

    def defect(w: Array, alphas: Array, needed: Bool[Array, " alpha"]) -> Array:
        # The part Zᵀ(Y − Zw) of the defect is summed over the rows. Expanded into the moments
        # ZᵀY − ZᵀZ w, this part would be a small difference of large, already rounded numbers.
        def of_fold(rows: Rows) -> Array:
            z, y = residual.features(rows), residual.targets(rows)
            rest = lambda w: einsum("tn,dn->td", y - matmul(w.T, z), z).T  # noqa: E731
            return _where_needed(needed, rest, w)

        return training.sum(of_fold) - alphas[:, None] * w

    def errors(s: ridge.Spectrum) -> Array:
        # No fit is repeated: in closed form the left-out error of a row is its residual over one
        # minus its leverage. In the basis of eigenvectors, both are cheap for every α.
        #
        # Composition is fitted anew without the row as well. Were the projection held fixed, the
        # remaining features would correlate with composition by chance, all that composition
        # explains of a target would count as noise of their fit, and α would come out too large.
        def of_fold(rows: Rows) -> Array:
            u = matmul(s.vectors.T, residual.features(rows))
            y, leverages = residual.targets(rows), residual.leverages(rows, m.n)

            def error(alpha: Array) -> Array:
                shrunk = 1 / (s.eigenvalues + alpha)
                left = y - matmul((shrunk[:, None] * matmul(s.vectors.T, cross)).T, u)
                return leave_out(left, u, shrunk, rows.weight, leverages)

            return lax.map(error, alphas)

        return training.sum(of_fold)

    gram, z = residual.gram(m), residual.features(held_out)
    refinement = ridge.Refinement(defect, residual.trace, gram) if refine else None
    fit = _fit(gram, cross, z, alphas, refinement, residual, errors if loo else None)
    return fit._replace(prediction=residual.mean_y[None, :, None] + fit.prediction)


def dual(
    residual: Residual,
    m: Moments,
    training: TrainingRows,
    held_out: Rows,
    alphas: Float[Array, " alpha"],
    *,
    loo: bool,
    refine: bool = True,
) -> Fit:
    """Return the fit  (ZZᵀ + αI) a = Y,  w = Zᵀa  for features that outnumber the rows.

    Its predictions are those of `primal`. The matrix ZZᵀ has one row and column per training row,
    and so is the smaller of the two.
    """

    def of_fold(rows: Rows) -> tuple[Array, ...]:
        # What composition explains of Y is projected out of the right-hand side. It cannot change
        # the weights: the residual Z is orthogonal to composition, so w = Zᵀa takes that part of a
        # to zero. But that part of a would be of size 1/α, and for a small α its rounding would
        # drown the rest. For features that are not orthogonal to composition, such as raw ones,
        # the method `targets` returns all of Y.
        z, y = residual.features(rows), residual.targets(rows)
        return z.T, y.T, residual.leverages(rows, m.n), rows.weight

    z, y, leverages, weight = (a.reshape(-1, *a.shape[2:]) for a in training.map(of_fold))
    gram = einsum("nd,md->nm", z, z)

    def defect(a: Array, alphas: Array, needed: Bool[Array, " alpha"]) -> Array:
        rest = lambda a: y - matmul(z, matmul(z.T, a))  # noqa: E731
        return _where_needed(needed, rest, a) - alphas[:, None] * a

    def errors(s: ridge.Spectrum) -> Array:
        # Residuals and leverages are both written with α as a factor, from
        #     y − ZZᵀa = α a   and   1 − h = Σ v² α / (λ + α),
        # since 1 minus a leverage near 1 would lose its digits. Composition takes its part of both,
        # as in `primal`: its leverages lie in the null space of ZZᵀ, where α / (λ + α) must be 1
        # even for an α as small as the rounding of λ = 0.
        rounding = len(gram) * jnp.finfo(gram.dtype).eps * s.eigenvalues.max()
        eigenvalues = jnp.where(s.eigenvalues > rounding, s.eigenvalues, 0)

        def error(alpha: Array) -> Array:
            shrunk = 1 / (eigenvalues + alpha)
            left = alpha * matmul(s.vectors, shrunk[:, None] * matmul(s.vectors.T, y))
            kept = alpha * matmul(jnp.square(s.vectors), shrunk)
            return _loo_error(left.T, kept, leverages, weight)

        return lax.map(error, alphas)

    held = matmul(z, residual.features(held_out))
    # What a null vector of ZZᵀ adds to a adds nothing to the weights Zᵀa, whatever the held-out
    # rows are like. Composition and the mean leave such vectors always.
    refinement = ridge.Refinement(defect, residual.trace, gram, harmless_null=True)
    chosen = refinement if refine else None
    fit = _fit(gram, y, held, alphas, chosen, residual, errors if loo else None)
    return fit._replace(prediction=residual.mean_y[None, :, None] + fit.prediction)


def _fit(
    gram: Float[Array, "n n"],
    rhs: Float[Array, "n target"],
    held: Float[Array, "n row"],
    alphas: Float[Array, " alpha"],
    refinement: ridge.Refinement | None,
    residual: Residual | Components,
    errors: Callable[[ridge.Spectrum], Float[Array, "alpha target"]] | None,
) -> Fit:
    """Return the predictions  rhsᵀ (S + αI)⁻¹ held  of held-out rows.

    The Gram matrix is S, the right-hand side is `rhs`, and `held` holds the held-out rows as they
    multiply the weights. Predictions are for every α of the grid or, where a function of the
    leave-one-out `errors` is given, for the α of each target with the smallest error.
    """

    # The inverse is symmetric, so it may as well be applied to the held-out rows. With fewer of
    # these than targets that is cheaper, unless every target has an α of its own.
    by_rows = rhs.shape[-1] > held.shape[-1] and errors is None

    def predict(
        solve: ridge.Solve, alphas: Float[Array, "alpha #target"], lowest: ridge.Solve | None = None
    ) -> Array:
        def by_weights(weights: Array) -> Array:
            return einsum("adt,dn->atn", weights, held)

        def plain(solved: Array) -> Array:
            # Products one by one, since einsum would transpose both factors.
            return jnp.stack([matmul(rhs.T, s) for s in solved]) if by_rows else by_weights(solved)

        b = held if by_rows else rhs
        if refinement is None:
            return plain(solve(ridge.tile(b, len(alphas))))
        # Random vectors tell how large the inverse is. Where every target has an α of its own, the
        # smallest one decides; else they are solved for together with b.
        v = ridge.tile(refinement.vectors, len(alphas))
        if lowest is None:
            joined = solve(jnp.concatenate([ridge.tile(b, len(alphas)), v], -1))
            solved, z = joined[..., : b.shape[1]], joined[..., b.shape[1] :]
        else:
            solved, z = solve(ridge.tile(b, len(alphas))), lowest(v)
        error = refinement.error(z)

        def corrected(solved: Array) -> Array:
            # Refinement corrects weights, which solutions for rows are not.
            weights = solve(ridge.tile(rhs, len(alphas))) if by_rows else solved
            return by_weights(refinement(solve, alphas, error, weights))

        return lax.cond(refinement.needed(error), corrected, plain, solved)

    if errors is not None:
        s = ridge.spectrum(gram)
        best = alphas[jnp.argmin(errors(s), axis=0)][None]
        lowest = ridge.spectral(gram, s, best.min(-1, keepdims=True))
        return Fit(predict(ridge.spectral(gram, s, best), best, lowest), best)
    grid = alphas[:, None]
    use = partial(predict, alphas=grid)
    prediction = ridge.on_grid(gram, alphas, use, scaled=residual.scaled)
    return Fit(prediction, jnp.broadcast_to(grid, (len(alphas), rhs.shape[-1])))


def _where_needed(needed: Bool[Array, " alpha"], f: Callable[[Array], Array], w: Array) -> Array:
    """Return f of the weights of every α that needs it, and zeros for every other α."""

    # The loop over α is not a batch: a batch would compute both branches for every α.

    def one(args: tuple[Array, Array]) -> Array:
        needed, w = args
        return lax.cond(needed, lambda: f(w), lambda: jnp.zeros_like(w))

    return lax.map(one, (needed, w))


def _loo_error(
    left: Array, kept: Array, leverages: Array, weight: Array
) -> Float[Array, " target"]:
    """Return the sum of squared leave-one-out errors, Σ (rᵢ / (1 − hᵢ))², of a linear smoother.

    Its residuals r are `left`. One minus Ridge's leverages is `kept`, from which those of the
    regression on composition are still to be taken (Golub, Heath and Wahba, Technometrics 21, 215,
    1979).
    """
    # A row that is fitted exactly has 1 − h = 0, or less after rounding. Where composition alone
    # does that, as for the only molecule of its formula, nothing is left that α could change.
    eps = jnp.finfo(kept.dtype).eps
    loo = left / jnp.maximum(kept - leverages, eps)[None]
    told = jnp.where(1 - leverages > jnp.sqrt(eps), weight, 0)
    return einsum("n,tn->t", told, loo * loo)
