"""Ridge regression in closed form, for a whole grid of α and all targets at once.

Solves  (S + αI) W = B  for a symmetric positive semi-definite Gram matrix S, of features (primal)
or of molecules (dual). Three factorisations, chosen by what is asked:

- a short grid, or any grid on an accelerator: one Cholesky factorisation per α;
- a long grid on a CPU: one reduction to tridiagonal form S = QTQᵀ, after which every α costs
  O(n) a target (Golub and Van Loan, Matrix Computations, 4th ed., section 8.3);
- α by leave-one-out: one eigendecomposition, which also gives the leverages of every α.

On a CPU no LAPACK call is batched: a batch waits for XLA's thread pool, and two waiting callers on
two threads wait for each other for ever (jaxlib 0.10.2).

Derivatives are implicit: none differentiates through a factorisation, so repeated eigenvalues
(duplicated features) do no harm.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.lax import linalg
from jax.scipy.linalg import cho_solve
from jaxtyping import Array, Bool, Float

from cpdjax.moments import einsum

# From about this many α the one reduction costs less than a Cholesky factorisation for each
# (measured with 12 targets at 128, 256, 512 and 1,024 columns, one BLAS thread, AMD EPYC).
LONG_GRID = 5

#: The grid that `alphas="loo"` chooses from: half decades from 1e-6 to 1e6.
LOO_ALPHAS = tuple(10.0 ** (k / 2) for k in range(-12, 13))

Weights = Float[Array, "alpha n target"]
Solve = Callable[[Weights], Weights]
#: What the rows themselves say is missing from a solution: ZᵀY − (ZᵀZ + αI) W, for one α.
Defect = Callable[[Float[Array, "n target"], Float[Array, "#target"]], Float[Array, "n target"]]


def solve_grid(
    gram: Float[Array, "n n"],
    rhs: Float[Array, "n target"],
    alphas: Float[Array, " alpha"],
    refine: Callable[[Weights, Solve], Weights],
    *,
    scaled: bool,
) -> Weights:
    """Solve (S + αI) W = B for every α of a grid; S is factorised as rarely as it can be.

    `scaled` says that the columns behind S are of one scale. If not, only Cholesky will do: an
    orthogonal reduction mixes small columns with the rounding of large ones.
    """

    def by(factorise: Callable[[Array, Array], Solve]) -> Callable[[], Array]:
        def run() -> Array:
            factor = factorise(lax.stop_gradient(gram), alphas)
            solve = _implicit(gram, alphas[:, None, None], factor)
            return refine(solve(_tile(rhs, len(alphas))), solve)

        return run

    on_cpu = by(_cholesky if len(alphas) < LONG_GRID or not scaled else _tridiagonal)
    return lax.platform_dependent(cpu=on_cpu, default=by(_batched_cholesky))


class Spectrum(NamedTuple):
    """Eigendecomposition S = V diag(λ) Vᵀ."""

    eigenvalues: Float[Array, " n"]
    vectors: Float[Array, "n n"]


def spectrum(gram: Float[Array, "n n"]) -> Spectrum:
    values, vectors = jnp.linalg.eigh(lax.stop_gradient(gram))
    return Spectrum(jnp.maximum(values, 0), vectors)


def solve_spectral(
    gram: Float[Array, "n n"],
    s: Spectrum,
    rhs: Float[Array, "n target"],
    alphas: Float[Array, "alpha #target"],
    refine: Callable[[Weights, Solve], Weights] = lambda w, _: w,
) -> Weights:
    """The same from an eigendecomposition; here α may differ from target to target."""
    shift = 1 / (s.eigenvalues[None, :, None] + alphas[:, None, :])

    def factorised(b: Array) -> Array:
        return einsum("nk,akt->ant", s.vectors, shift * einsum("nk,ant->akt", s.vectors, b))

    solve = _implicit(gram, alphas[:, None, :], factorised)
    return refine(solve(_tile(rhs, len(alphas))), solve)


def refinement(
    rows: Callable[[], Defect], alphas: Float[Array, "alpha #target"], trace: Float[Array, ""]
) -> Callable[[Weights, Solve], Weights]:
    """One step of iterative refinement against the rows, for those α that need it.

    A Gram matrix squares the condition number: weights carry an error of eps·tr/α, where `trace`
    is that of the matrix S was computed from by cancellation. Where that exceeds √eps/10, one
    corrected step restores the accuracy of working on the rows themselves (corrected seminormal
    equations: Björck, Linear Algebra Appl. 88/89, 31, 1987). `rows` fetches them, if need be.
    """
    ill = trace * 10 * jnp.sqrt(jnp.finfo(trace.dtype).eps) > alphas.min(-1)

    def refine(w: Weights, solve: Solve) -> Weights:
        def correct(w: Weights) -> Weights:
            defect = rows()

            def step(args: tuple[Array, Array, Bool[Array, ""]]) -> Array:
                w, alpha, needed = args
                return lax.cond(needed, defect, lambda w, _: jnp.zeros_like(w), w, alpha)

            return w + solve(lax.map(step, (w, alphas, ill)))

        return lax.cond(ill.any(), correct, lambda w: w, w)

    return refine


def _tile(rhs: Array, alphas: int) -> Array:
    return jnp.broadcast_to(rhs, (alphas, *rhs.shape))


def _implicit(gram: Array, alphas: Array, solve: Solve) -> Solve:
    def multiply(w: Array) -> Array:
        return einsum("nm,amt->ant", gram, w) + alphas * w

    return lambda b: lax.custom_linear_solve(multiply, b, lambda _, rhs: solve(rhs), symmetric=True)


def _cholesky(gram: Array, alphas: Array, each: Callable[..., Array] = lax.map) -> Solve:
    # α below the rounding of S, column by column, could leave a pivot negative.
    rounding = len(gram) * jnp.finfo(gram.dtype).eps * jnp.diagonal(gram)

    def factorise(alpha: Array) -> Array:
        shift = jnp.diag(jnp.maximum(alpha, rounding))
        return jnp.linalg.cholesky(gram + shift, symmetrize_input=False)

    lower = each(factorise, alphas)
    return lambda b: each(lambda args: cho_solve((args[0], True), args[1]), (lower, b))


def _batched_cholesky(gram: Array, alphas: Array) -> Solve:
    return _cholesky(gram, alphas, each=lambda f, xs: jax.vmap(f)(xs))


def _tridiagonal(gram: Array, alphas: Array) -> Solve:
    packed, diagonal, off, taus = linalg.tridiagonal(gram, lower=True)
    # LAPACK leaves the reflectors below the subdiagonal: Q acts on all rows but the first.
    q = linalg.householder_product(packed[1:, :-1], taus)
    alphas = jnp.maximum(alphas, jnp.finfo(gram.dtype).eps * jnp.trace(gram))
    zero = jnp.zeros((1,), gram.dtype)
    below, above = jnp.concatenate([zero, off]), jnp.concatenate([off, zero])

    def turn(matrix: Array, b: Array) -> Array:
        return jnp.concatenate([b[:, :1], einsum("nk,akt->ant", matrix, b[:, 1:])], axis=1)

    def solve(b: Array) -> Array:
        def one(args: tuple[Array, Array]) -> Array:
            alpha, b = args
            return linalg.tridiagonal_solve(below, diagonal + alpha, above, b)

        return turn(q, lax.map(one, (alphas, turn(q.T, b))))

    return solve
