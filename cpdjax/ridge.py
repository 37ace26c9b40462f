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
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
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


class Rows(NamedTuple):
    """What the training rows themselves say of a solution."""

    y: Float[Array, "row target"]
    #: W → ZW.
    predict: Callable[[Array], Float[Array, "row target"]]
    #: (W, α, Y) → ZᵀY − (ZᵀZ + αI) W, what is missing from a solution for one α.
    defect: Callable[[Array, Array, Array], Float[Array, "n target"]]


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


@dataclass(frozen=True)
class Refinement:
    """One step of iterative refinement against the rows, for those α that need it.

    A Gram matrix squares the condition number: weights carry an error of eps·tr/α at worst, where
    `trace` is that of the matrix S was computed from by cancellation. Where that exceeds √eps/10,
    one corrected step restores the accuracy of working on the rows themselves (corrected
    seminormal equations: Björck, Linear Algebra Appl. 88/89, 31, 1987).

    Few data reach that bound. Up to a hundred times that limit, and from α = 0.01 of features of
    unit variance, the step is first tried on a few random combinations of the targets (unless
    another α needs it anyway), and taken where it moves the prediction of a training row by more
    than 4 eps^(2/3) of the targets' scale (1.5e-10, so that R² keeps 1e-9); held-out rows, which
    must not be looked at, may move n / (n − p) times as much. Below that α, rows unlike any
    training row move far more.
    """

    #: Fetches the training rows, if need be.
    rows: Callable[[], Rows]
    alphas: Float[Array, "alpha #target"]
    trace: Float[Array, ""]
    #: Parameters a training row, p / n.
    leverage: Float[Array, ""]
    #: Whether the features are of unit variance.
    scaled: bool

    def __call__(self, w: Weights, solve: Solve) -> Weights:
        bound = self.trace * 10 * jnp.sqrt(jnp.finfo(w.dtype).eps)
        ill = bound > self.alphas.min(-1)
        # With an α of its own for every target there are no combinations to try.
        if self.scaled and self.alphas.shape[1] == 1:
            alphas = self.alphas[:, 0]
            doubtful = (bound < 100 * alphas) & (alphas > 0.0099)
            alone = ill.any() & ~(ill & ~doubtful).any()
            ill = ill & lax.cond(alone, lambda: self._moves(w, solve), lambda: ill)
        return lax.cond(ill.any(), lambda: self._correct(w, solve, ill), lambda: w)

    def _correct(self, w: Weights, solve: Solve, ill: Bool[Array, " alpha"]) -> Weights:
        rows = self.rows()

        def step(args: tuple[Array, Array, Bool[Array, ""]]) -> Array:
            w, alpha, needed = args
            return lax.cond(
                needed, lambda: rows.defect(w, alpha, rows.y), lambda: jnp.zeros_like(w)
            )

        return w + solve(lax.map(step, (w, self.alphas, ill)))

    def _moves(self, w: Weights, solve: Solve) -> Bool[Array, " alpha"]:
        """Where the step would move predictions, judged by random combinations of the targets."""
        rows = self.rows()
        scale = jnp.sqrt(jnp.square(rows.y).mean(0))
        mix = _combinations(w.shape[-1]).astype(w.dtype)
        mix = mix / jnp.where(scale > 0, scale, 1)[:, None]
        mixed = einsum("ant,tk->ank", w, mix)
        defect = jax.vmap(rows.defect, (0, 0, None))(mixed, self.alphas, rows.y @ mix)
        moved = jax.vmap(rows.predict)(lax.stop_gradient(solve(defect)))
        worst = jnp.square(moved).sum(-1).max(-1)
        limit = 4 * jnp.finfo(w.dtype).eps ** (2 / 3) * jnp.maximum(1 - self.leverage, 0)
        return worst > limit * limit


def _combinations(targets: int) -> Float[np.ndarray, "target combination"]:
    """Four random combinations, whose squares sum to the targets' mean square on average."""
    few = 4
    if targets <= few:
        return np.eye(targets) / np.sqrt(targets)
    return np.random.default_rng(0).normal(size=(targets, few)) / np.sqrt(few * targets)


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
