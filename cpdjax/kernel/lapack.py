"""Call LAPACK so that no call is batched on a CPU, whatever transformation a caller applies.

A batched call waits for XLA's thread pool, and two callers that wait on two threads wait for each
other for ever (seen with jaxlib 0.10.2). So where `vmap` would batch one of these functions it runs
matrix by matrix on a CPU, and is batched on an accelerator, which it fills.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap
from jax.lax import linalg
from jax.scipy.linalg import cho_solve
from jaxtyping import Array, Float


def _one_by_one(f: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that `vmap` maps over matrices one after the other on a CPU."""
    single = custom_vmap(f)

    @single.def_vmap
    def many(axis_size: int, batched: Any, *args: Any) -> Any:
        full = [
            a if is_batched else jnp.broadcast_to(a, (axis_size, *a.shape))
            for a, is_batched in zip(args, batched, strict=True)
        ]
        mapped = lambda *a: lax.map(lambda one: single(*one), a)  # noqa: E731
        found = lax.platform_dependent(*full, cpu=mapped, default=jax.vmap(f))
        return found, jax.tree.map(lambda _: True, found)

    return single


def _cholesky(a: Float[Array, "n n"]) -> Float[Array, "n n"]:
    return jnp.linalg.cholesky(a, symmetrize_input=False)


def _solve_cholesky(lower: Float[Array, "n n"], b: Float[Array, "n column"]) -> Array:
    return cho_solve((lower, True), b)


def _tridiagonal(a: Float[Array, "n n"]) -> tuple[Array, Array, Array]:
    packed, diagonal, off, taus = linalg.tridiagonal(a, lower=True)
    # LAPACK leaves the Householder reflectors that make up Q below the subdiagonal. None of them
    # acts on the first row, so the first row and column of Q are left out.
    return diagonal, off, linalg.householder_product(packed[1:, :-1], taus)


#: The lower Cholesky factor of a positive definite matrix.
cholesky = _one_by_one(_cholesky)
#: The solution x of  L Lᵀ x = b  for a lower Cholesky factor L.
solve_cholesky = _one_by_one(_solve_cholesky)
#: The diagonal and subdiagonal of T in  S = QTQᵀ,  and Q without its first row and column.
tridiagonal = _one_by_one(_tridiagonal)
#: The solution x of a tridiagonal system, given three diagonals and b.
solve_tridiagonal = _one_by_one(linalg.tridiagonal_solve)
_eigh = _one_by_one(lambda a: tuple(jnp.linalg.eigh(a)))


@jax.custom_jvp
def eigh(a: Float[Array, "n n"]) -> tuple[Float[Array, " n"], Float[Array, "n n"]]:
    """Return the eigenvalues, ascending, and the eigenvectors of a symmetric matrix.

    The derivative of eigenvectors of one eigenvalue, which may be any of their space, is taken in
    the directions out of that space alone.
    """
    return _eigh(a)


@eigh.defjvp
def _eigh_derivative(primals: Any, tangents: Any) -> Any:
    values, vectors = eigh(*primals)
    (change,) = tangents
    inside = jnp.matmul(jnp.matmul(vectors.T, change, precision="highest"), vectors)
    gaps = values[None] - values[:, None]
    turned = jnp.where(gaps == 0, 0, inside / jnp.where(gaps == 0, 1, gaps))
    return (values, vectors), (jnp.diagonal(inside), jnp.matmul(vectors, turned))
