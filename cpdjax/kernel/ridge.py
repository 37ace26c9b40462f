"""Solve Ridge regression in closed form, for a whole grid of α and all targets at once.

The system is  (S + αI) W = B  for a symmetric positive semi-definite Gram matrix S: of features in
the primal form, of molecules in the dual form. There are three factorisations, and what is asked
for decides which of them is the cheapest:

- A short grid, or any grid on an accelerator: one Cholesky factorisation per α.
- A long grid on a CPU: one reduction to tridiagonal form S = QTQᵀ, after which every α costs O(n)
  per target (Golub and Van Loan, Matrix Computations, 4th ed., section 8.3).
- Leave-one-out choice of α: one eigendecomposition, which also gives the leverages of every α.

Derivatives are implicit: they come from the system itself and never pass through a factorisation.
An eigendecomposition has no derivative where eigenvalues repeat, as they do when features are
duplicated; an implicit derivative takes no harm from that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from cpdjax.kernel import lapack
from cpdjax.kernel.moments import diagonal, einsum, matmul

# From about this many α on, the one reduction costs less than a Cholesky factorisation for each α.
# This was measured with 12 targets at 128, 256, 512 and 1,024 columns, with one BLAS thread on an
# AMD EPYC.
LONG_GRID = 5

#: The grid from which `alphas="loo"` chooses: two values per decade from 1e-6 to 1e6.
LOO_ALPHAS = tuple(10.0 ** (k / 2) for k in range(-12, 13))

#: How many random vectors estimate the norm of an inverse. With four, an estimate that is ten times
#: too small is met once in five thousand matrices (a χ² of four degrees of freedom below 0.04).
_VECTORS = 4

#: How many steps of refinement there are at most. The second one brings features that are alike to
#: 1e-6 to full accuracy, which is out of reach of the first.
_STEPS = 3

Weights = Float[Array, "alpha n target"]
#: A function from the right-hand sides B of every α to the solutions (S + αI)⁻¹ B.
Solve = Callable[[Weights], Weights]
#: A function of the weights W, the grid of α and a mask over the grid. It returns the defect of the
#: weights, B − (S + αI) W, which it finds from the rows and not from S. Where the mask is False, no
#: row is visited and the result has no meaning.
Defect = Callable[[Weights, Float[Array, "alpha #target"], Bool[Array, " alpha"]], Weights]


def on_grid(
    gram: Float[Array, "n n"],
    alphas: Float[Array, " alpha"],
    use: Callable[[Solve], Array],
    *,
    scaled: bool,
) -> Array:
    """Return what `use` makes of the solver W = (S + αI)⁻¹ B for every α of a grid.

    The matrix S is factorised as rarely as is possible on the platform. The flag `scaled` says that
    the columns behind S are of one scale. If they are not, only Cholesky factorisation will do: it
    treats each column at its own scale, whereas an orthogonal reduction mixes small columns with
    the rounding of large ones.
    """

    def solved_by(factorise: Callable[[Array, Array], Solve]) -> Callable[[], Array]:
        # The factorisation is kept out of differentiation, which `_implicit` takes care of. LAPACK
        # wants the matrix column by column, which for a symmetric S is the layout of its transpose.
        fixed = lax.stop_gradient((gram.T, alphas))
        factor = lambda: factorise(*fixed)  # noqa: E731
        return lambda: use(_implicit(gram, alphas[:, None, None], factor()))

    # The platform is known only when the function is lowered for it, hence both ways go into the
    # program; the other platform's factorisation is dropped.
    on_cpu = solved_by(_cholesky if len(alphas) < LONG_GRID or not scaled else _tridiagonal)
    return lax.platform_dependent(cpu=on_cpu, default=solved_by(_batched_cholesky))


def tile(rhs: Float[Array, "n column"], alphas: int) -> Float[Array, "alpha n column"]:
    """Return the same right-hand sides for every α."""
    return jnp.broadcast_to(rhs, (alphas, *rhs.shape))


class Spectrum(NamedTuple):
    """Hold the eigendecomposition S = V diag(λ) Vᵀ: the eigenvalues λ and the vectors V."""

    eigenvalues: Float[Array, " n"]
    vectors: Float[Array, "n n"]


def spectrum(gram: Float[Array, "n n"]) -> Spectrum:
    """Return the eigendecomposition of a positive semi-definite S, without its derivatives.

    Eigenvalues that rounding has made negative become zero.
    """
    values, vectors = lapack.eigh(lax.stop_gradient(gram))
    return Spectrum(jnp.maximum(values, 0), vectors)


def spectral(
    gram: Float[Array, "n n"], s: Spectrum, alphas: Float[Array, "alpha #target"]
) -> Solve:
    """Return the solver W = (S + αI)⁻¹ B from an eigendecomposition of S.

    Unlike on a grid, every target may have an α of its own here.
    """
    shift = 1 / (s.eigenvalues[None, :, None] + alphas[:, None, :])

    def factorised(b: Array) -> Array:
        return einsum("nk,akt->ant", s.vectors, shift * einsum("nk,ant->akt", s.vectors, b))

    return _implicit(gram, alphas[:, None, :], factorised)


@dataclass(frozen=True)
class Refinement:
    """Hold what iterative refinement against the rows needs; a call takes its steps.

    To sum a Gram matrix S over the rows rounds it at eps times its trace. Weights carry an error of
    eps · trace · ‖(S + αI)⁻¹‖ at most, relative to their size. Where this exceeds eps^(7/16),
    1.4e-7 in float64, the steps restore the accuracy of working on the rows themselves (corrected
    seminormal equations: Björck, Linear Algebra Appl. 88/89, 31, 1987).
    """

    defect: Defect
    trace: Float[Array, ""]
    gram: Float[Array, "n n"]
    #: Whether null vectors of S change no prediction, so that weights may be wrong along them.
    harmless_null: bool = False

    @property
    def vectors(self) -> Float[Array, "n vector"]:
        """Return random vectors v of norm √n, with zeros for features that have dropped out."""
        signs = np.random.default_rng(0).choice([-1, 1], (len(self.gram), _VECTORS))
        present = diagonal(self.gram) > 0  # a row of zeros is such a feature, or padding
        return jnp.where(present[:, None], jnp.asarray(signs, self.gram.dtype), 0)

    def error(self, solved: Float[Array, "alpha n vector"]) -> Float[Array, " alpha"]:
        """Return how large the error of weights may be for every α, given (S + αI)⁻¹ v.

        The norm of the inverse is not known, but the random vectors give a bound on it that is
        rarely too small: on average ‖(S + αI)⁻¹ v‖² is the sum of 1 / (λ + α)² over the eigenvalues
        λ of S. Held-out rows have no part in it: none decides how another one is predicted.
        """
        z, gram = lax.stop_gradient((solved, self.gram))
        # Null vectors do not enter the sum of λ / (λ + α)², and otherwise it is as large.
        weighed = matmul(gram, z) if self.harmless_null else z
        squares = jnp.abs(z * weighed).sum((1, 2)) / _VECTORS
        norm = squares if self.harmless_null else jnp.sqrt(squares)
        return jnp.finfo(gram.dtype).eps * lax.stop_gradient(self.trace) * norm

    def needed(self, error: Float[Array, " alpha"]) -> Bool[Array, ""]:
        """Return whether the error is too large for some α."""
        return (error > _accuracy(error.dtype)).any()

    def __call__(
        self, solve: Solve, alphas: Float[Array, "alpha #target"], error: Array, w: Weights
    ) -> Weights:
        """Return the weights W, corrected for those α whose `error` asks for it."""

        # Where α is small, the weights along weak directions depend on the last digits of S, which
        # were rounded away when S was summed over the rows. Nothing computed from S alone can
        # restore them, but the rows can: they give the defect to full accuracy, and a solution for
        # the defect with the same factors corrects the weights.
        def correct(w: Weights, needed: Bool[Array, " alpha"]) -> Weights:
            defect = self.defect(w, alphas, needed)
            return w + solve(jnp.where(needed[:, None, None], defect, 0))

        def step(w: Weights, accuracy: Array) -> tuple[Weights, None]:
            needed = error > accuracy
            return lax.cond(needed.any(), correct, lambda w, _: w, w, needed), None

        # Each step multiplies the error by what it was at first.
        steps = _accuracy(w.dtype) ** (1 / np.arange(1, _STEPS + 1))
        return lax.scan(step, w, jnp.asarray(steps, w.dtype))[0]


def may_need_refinement(alphas: Float[np.ndarray, " alpha"], trace: float, dtype: np.dtype) -> bool:
    """Return whether some α is so small that weights could need refinement, whatever S is.

    >>> may_need_refinement(np.array([1e-4, 1.0]), 2000 * 256, np.dtype(np.float64))
    True
    >>> may_need_refinement(np.array([1e-3, 1.0]), 2000 * 256, np.dtype(np.float64))
    False
    """
    return bool(float(jnp.finfo(dtype).eps) * trace > _accuracy(dtype) * np.min(alphas))


def _accuracy(dtype: np.dtype) -> float:
    """Return the largest bound on the error of weights that needs no refinement (our choice).

    Scores are then right to 1e-9: errors are some hundred times smaller than their bound.
    """
    return float(jnp.finfo(dtype).eps) ** (7 / 16)


def _implicit(gram: Array, alphas: Array, solve: Solve) -> Solve:
    """Return `solve` with the derivatives of the system that it solves.

    From (S + αI) W = B follows  dW = (S + αI)⁻¹ (dB − dS W): the derivative is one more solution
    with the same factors.
    """

    def multiply(w: Array) -> Array:
        return einsum("nm,amt->ant", gram, w) + alphas * w

    return lambda b: lax.custom_linear_solve(multiply, b, lambda _, rhs: solve(rhs), symmetric=True)


def _cholesky(gram: Array, alphas: Array) -> Solve:
    """Return a solver by one Cholesky factorisation per α, with no LAPACK call batched."""
    if len(alphas) < LONG_GRID:  # few factors stay apart, since stacking would copy them
        few = [_shifted_cholesky(gram, alpha) for alpha in alphas]
        return lambda b: jnp.stack(
            [lapack.solve_cholesky(f, x) for f, x in zip(few, b, strict=True)]
        )
    lower = lax.map(partial(_shifted_cholesky, gram), alphas)
    return lambda b: lax.map(lambda args: lapack.solve_cholesky(*args), (lower, b))


def _batched_cholesky(gram: Array, alphas: Array) -> Solve:
    """Return a solver by Cholesky factorisations of all α at once, which fills an accelerator."""
    lower = jax.vmap(partial(_shifted_cholesky, gram))(alphas)
    return lambda b: jax.vmap(lapack.solve_cholesky)(lower, b)


def _shifted_cholesky(gram: Array, alpha: Array) -> Array:
    """Return the Cholesky factor of S + αI."""
    # An α below the rounding of S could leave a pivot negative and the factor NaN. It is raised to
    # that rounding column by column, as columns may be of very different scales. `Refinement`,
    # whose system has the true α, corrects the weights for it.
    rounding = len(gram) * jnp.finfo(gram.dtype).eps * diagonal(gram)
    return lapack.cholesky(gram + jnp.diag(jnp.maximum(alpha, rounding)))


def _tridiagonal(gram: Array, alphas: Array) -> Solve:
    """Return a solver by one reduction S = QTQᵀ:  (S + αI)⁻¹ = Q (T + αI)⁻¹ Qᵀ  for every α."""
    main, off, q = lapack.tridiagonal(gram)
    # The reduction rounds T at eps times the size of S. With an α below that, the matrix T + αI
    # might be singular or indefinite. As in `_shifted_cholesky`, `Refinement` corrects the weights
    # for the raised α.
    alphas = jnp.maximum(alphas, jnp.finfo(gram.dtype).eps * diagonal(gram).sum())
    zero = jnp.zeros((1,), gram.dtype)
    below, above = jnp.concatenate([zero, off]), jnp.concatenate([off, zero])

    def solve(b: Array) -> Array:
        shape = (len(b), b.shape[-1], len(gram))

        def turn(b: Array, matrix: Array) -> Array:
            # The columns of all α and targets become the rows of one matrix, so that one large
            # product, in the order in which products are fast, does for all.
            rows = b.swapaxes(1, 2).reshape(-1, len(gram))
            rows = jnp.concatenate([rows[:, :1], matmul(rows[:, 1:], matrix)], axis=1)
            return rows.reshape(shape).swapaxes(1, 2)

        def one(args: tuple[Array, Array]) -> Array:
            alpha, b = args
            return lapack.solve_tridiagonal(below, main + alpha, above, b)

        return turn(lax.map(one, (alphas, turn(b, q))), q.T)

    return solve
