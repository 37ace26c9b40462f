"""Spherical Bessel functions of the first kind: values without cancellation, zeros, a basis.

They are checked against SciPy, which the package itself does not need.
"""

from __future__ import annotations

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from cpdjax.models.blocks.basics import polynomial_cutoff


def spherical_bessel(
    order: Int[Array, ""], x: Float[Array, "*n"], highest: int
) -> Float[Array, "*n"]:
    """Return j_order(x) for x ≥ 0 and an order ≤ `highest`, which may be traced.

    To a few units of the last digit of the largest value up to x. A power series up to
    x = order + ½, where the recurrence from sin x / x and the closed forms lose everything: 10
    digits of j₆ at x = 1.5. Above, the recurrence is stable.
    """
    near = order.astype(x.dtype) + 0.5
    series = _series(order, jnp.minimum(x, near), highest)
    return jnp.where(x < near, series, _recurrence(order, jnp.maximum(x, near), highest))


def _series(order: Int[Array, ""], x: Float[Array, "*n"], highest: int) -> Float[Array, "*n"]:
    """Return x^l / (2l+1)!! Σ_k (−x²/2)^k / (k! (2l+3)(2l+5)…(2l+2k+1)), for x ≤ l + ½."""
    twice, total = 2 * order.astype(x.dtype), jnp.ones_like(x)
    for k in reversed(range(1, _terms(highest))):
        total = 1 - x * x * total / (2 * k * (twice + 2 * k + 1))
    for k in range(1, highest + 1):
        total = jnp.where(k <= order, total * x / (2 * k + 1), total)
    return total


def _terms(order: int) -> int:
    """Return how many terms the series has at x = order + ½ until they vanish in float64."""
    term, count = 1.0, 1
    while term > 1e-17:
        term *= (order + 0.5) ** 2 / 2 / (count * (2 * order + 2 * count + 1))
        count += 1
    return count


def _recurrence(order: Int[Array, ""], x: Float[Array, "*n"], highest: int) -> Float[Array, "*n"]:
    """Return j_order by j_{k+1} = (2k+1)/x j_k − j_{k−1}, for x > order."""
    last, value = jnp.cos(x) / x, jnp.sin(x) / x
    for k in range(highest):
        following = (2 * k + 1) / x * value - last
        last, value = value, jnp.where(k < order, following, value)
    return value


@lru_cache
def zeros(orders: int, count: int) -> Float[np.ndarray, "order zero"]:
    """Return the first `count` positive zeros of j_0 to j_{orders−1}.

    Zeros of one order lie between those of the order below, so that bisection finds them all.
    """
    roots = np.pi * np.arange(1, count + orders)
    found = [roots[:count]]
    for order in range(1, orders):
        low, high = roots[:-1], roots[1:]
        sign = np.sign(_beyond(order, low))
        for _ in range(60):
            middle = (low + high) / 2
            before = np.sign(_beyond(order, middle)) == sign
            low, high = np.where(before, middle, low), np.where(before, high, middle)
        roots = (low + high) / 2
        found.append(roots[:count])
    return np.array(found)


def _beyond(order: int, x: Float[np.ndarray, " argument"]) -> Float[np.ndarray, " argument"]:
    """Return j_order(x) for x > order, outside JAX, so that constants are made in float64."""
    last, value = np.cos(x) / x, np.sin(x) / x
    for k in range(order):
        last, value = value, (2 * k + 1) / x * value - last
    return value


def spherical_basis(
    r: Float[Array, "*n"], orders: int, count: int, cutoff: float, power: int
) -> Float[Array, "order *n radial"]:
    """Return the radial parts of the waves in a sphere, of norm 1 in it, times an envelope u(x)/x.

    √2 / |j_{l+1}(z_ln)| · j_l(z_ln x), x = r / cutoff, with z_ln the n-th zero of j_l and u
    `polynomial_cutoff`.
    """
    x = r / cutoff
    envelope = polynomial_cutoff(r, cutoff, power) / x
    z = zeros(orders, count)
    norms = np.array([2**0.5 / np.abs(_beyond(k + 1, row)) for k, row in enumerate(z)])

    def of_order(constants: tuple[Array, Array, Array]) -> Float[Array, "*n radial"]:
        order, z, norm = constants
        scaled = x[..., None] * jnp.broadcast_to(z, (*x.shape, count))
        factor = envelope[..., None] * jnp.broadcast_to(norm, scaled.shape)
        return spherical_bessel(order, scaled, orders - 1) * factor

    # A loop, because XLA would otherwise compute the series anew wherever the basis is used.
    each = np.arange(orders, dtype=np.int32), z.astype(x.dtype), norms.astype(x.dtype)
    return jax.lax.map(of_order, jax.tree.map(jnp.asarray, each))
