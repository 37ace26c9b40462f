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
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.lax import linalg
from jax.scipy.linalg import cho_solve
from jaxtyping import Array, Bool, Float

from cpdjax.kernel.moments import einsum, matmul

# From about this many α the one reduction costs less than a Cholesky factorisation for each
# (measured with 12 targets at 128, 256, 512 and 1,024 columns, one BLAS thread, AMD EPYC).
LONG_GRID = 5

#: The grid that `alphas="loo"` chooses from: half decades from 1e-6 to 1e6.
LOO_ALPHAS = tuple(10.0 ** (k / 2) for k in range(-12, 13))

Weights = Float[Array, "alpha n target"]
Solve = Callable[[Weights], Weights]
#: (W, α, needed) → ZᵀY − (ZᵀZ + αI) W by the rows, where needed.
Defect = Callable[[Weights, Float[Array, "alpha #target"], Bool[Array, " alpha"]], Weights]


def on_grid(
    gram: Float[Array, "n n"],
    alphas: Float[Array, " alpha"],
    use: Callable[[Solve], Array],
    *,
    scaled: bool,
) -> Array:
    """What `use` makes of (S + αI)⁻¹ for every α of a grid; S is factorised as rarely as can be.

    `scaled` says that the columns behind S are of one scale. If not, only Cholesky will do: an
    orthogonal reduction mixes small columns with the rounding of large ones.
    """

    def by(factorise: Callable[[Array, Array], Solve]) -> Callable[[], Array]:
        # S is symmetric: transposed, it has the layout of LAPACK.
        factor = lambda: factorise(lax.stop_gradient(gram).T, alphas)  # noqa: E731
        return lambda: use(_implicit(gram, alphas[:, None, None], factor()))

    on_cpu = by(_cholesky if len(alphas) < LONG_GRID or not scaled else _tridiagonal)
    return lax.platform_dependent(cpu=on_cpu, default=by(_batched_cholesky))


def tile(rhs: Float[Array, "n column"], alphas: int) -> Float[Array, "alpha n column"]:
    """The same right-hand sides for every α."""
    return jnp.broadcast_to(rhs, (alphas, *rhs.shape))


class Spectrum(NamedTuple):
    """Eigendecomposition S = V diag(λ) Vᵀ."""

    eigenvalues: Float[Array, " n"]
    vectors: Float[Array, "n n"]


def spectrum(gram: Float[Array, "n n"]) -> Spectrum:
    """Of a positive semi-definite S; rounding below zero is cut off, derivatives are not taken."""
    values, vectors = jnp.linalg.eigh(lax.stop_gradient(gram))
    return Spectrum(jnp.maximum(values, 0), vectors)


def spectral(
    gram: Float[Array, "n n"], s: Spectrum, alphas: Float[Array, "alpha #target"]
) -> Solve:
    """(S + αI)⁻¹ from an eigendecomposition; here α may differ from target to target."""
    shift = 1 / (s.eigenvalues[None, :, None] + alphas[:, None, :])

    def factorised(b: Array) -> Array:
        return einsum("nk,akt->ant", s.vectors, shift * einsum("nk,ant->akt", s.vectors, b))

    return _implicit(gram, alphas[:, None, :], factorised)


@dataclass(frozen=True)
class Refinement:
    """One step of iterative refinement against the rows, for those α that need it.

    A Gram matrix squares the condition number: weights carry an error of eps·tr/α at worst. Where
    that exceeds √eps/10, one corrected step restores the accuracy of working on the rows
    themselves (corrected seminormal equations: Björck, Linear Algebra Appl. 88/89, 31, 1987).
    """

    defect: Defect
    alphas: Float[Array, "alpha #target"]
    trace: Float[Array, ""]

    @property
    def needed(self) -> Bool[Array, " alpha"]:
        """Where the error of some target's weights is too large."""
        return self.trace * 10 * jnp.sqrt(jnp.finfo(self.trace.dtype).eps) > self.alphas.min(-1)

    def __call__(self, w: Weights, solve: Solve) -> Weights:
        def correct() -> Weights:
            defect = self.defect(w, self.alphas, self.needed)
            return w + solve(jnp.where(self.needed[:, None, None], defect, 0))

        return lax.cond(self.needed.any(), correct, lambda: w)


def _implicit(gram: Array, alphas: Array, solve: Solve) -> Solve:
    def multiply(w: Array) -> Array:
        return einsum("nm,amt->ant", gram, w) + alphas * w

    return lambda b: lax.custom_linear_solve(multiply, b, lambda _, rhs: solve(rhs), symmetric=True)


def _cholesky(gram: Array, alphas: Array) -> Solve:
    if len(alphas) < LONG_GRID:  # one by one: to stack the factors would copy them
        few = [_shifted_cholesky(gram, alpha) for alpha in alphas]
        return lambda b: jnp.stack([cho_solve((f, True), x) for f, x in zip(few, b, strict=True)])
    lower = lax.map(partial(_shifted_cholesky, gram), alphas)
    return lambda b: lax.map(lambda args: cho_solve((args[0], True), args[1]), (lower, b))


def _batched_cholesky(gram: Array, alphas: Array) -> Solve:
    lower = jax.vmap(partial(_shifted_cholesky, gram))(alphas)
    return lambda b: jax.vmap(lambda f, x: cho_solve((f, True), x))(lower, b)


def _shifted_cholesky(gram: Array, alpha: Array) -> Array:
    # α below the rounding of S, column by column, could leave a pivot negative.
    rounding = len(gram) * jnp.finfo(gram.dtype).eps * jnp.diagonal(gram)
    shift = jnp.diag(jnp.maximum(alpha, rounding))
    return jnp.linalg.cholesky(gram + shift, symmetrize_input=False)


def _tridiagonal(gram: Array, alphas: Array) -> Solve:
    packed, diagonal, off, taus = linalg.tridiagonal(gram, lower=True)
    # LAPACK leaves the reflectors below the subdiagonal: Q acts on all rows but the first.
    q = linalg.householder_product(packed[1:, :-1], taus)
    alphas = jnp.maximum(alphas, jnp.finfo(gram.dtype).eps * jnp.diagonal(gram).sum())
    zero = jnp.zeros((1,), gram.dtype)
    below, above = jnp.concatenate([zero, off]), jnp.concatenate([off, zero])

    def solve(b: Array) -> Array:
        shape = (len(b), b.shape[-1], len(gram))

        def turn(b: Array, matrix: Array) -> Array:
            # All columns at once, as rows: the order in which products are fast.
            rows = b.swapaxes(1, 2).reshape(-1, len(gram))
            rows = jnp.concatenate([rows[:, :1], matmul(rows[:, 1:], matrix)], axis=1)
            return rows.reshape(shape).swapaxes(1, 2)

        def one(args: tuple[Array, Array]) -> Array:
            alpha, b = args
            return linalg.tridiagonal_solve(below, diagonal + alpha, above, b)

        return turn(lax.map(one, (alphas, turn(b, q))), q.T)

    return solve
