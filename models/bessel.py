"""Spherical Bessel functions of the first kind: values without cancellation, zeros, a basis.

They are checked against SciPy, which the package itself does not need.
"""

from __future__ import annotations

from functools import lru_cache
from types import ModuleType
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from cpdjax.models.layers import polynomial_cutoff


def spherical_bessel(order: int, x: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """j_order(x) for x ≥ 0, to a few units of the last digit of its envelope.

    A power series up to x = order + ½. The recurrence from sin x / x and the closed forms lose
    everything there: 10 digits of j₆ at x = 1.5. Above, the recurrence is stable.
    """
    near = order + 0.5
    return jnp.where(
        x < near,
        _series(order, jnp.minimum(x, near)),
        _recurrence(order, jnp.maximum(x, near), jnp),
    )


def _series(order: int, x: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """x^l / (2l+1)!! Σ_k (−x²/2)^k / (k! (2l+3)(2l+5)…(2l+2k+1)), for x ≤ l + ½."""
    largest, term, count = (order + 0.5) ** 2 / 2, 1.0, 1
    while term > 1e-17:
        term *= largest / (count * (2 * order + 2 * count + 1))
        count += 1
    half, total = x * x / 2, jnp.ones_like(x)
    for k in reversed(range(1, count)):
        total = 1 - half * total / (k * (2 * order + 2 * k + 1))
    return x**order * total / float(np.prod(np.arange(1, 2 * order + 2, 2.0)))


def _recurrence(order: int, x: Any, numpy: ModuleType) -> Any:
    """j_{l+1} = (2l+1)/x j_l − j_{l−1}, for x ≥ order; of NumPy or JAX arrays."""
    last, value = numpy.cos(x) / x, numpy.sin(x) / x
    for k in range(order):
        last, value = value, (2 * k + 1) / x * value - last
    return value


@lru_cache
def zeros(orders: int, count: int) -> Float[np.ndarray, "order zero"]:
    """The first `count` positive zeros of j_0 to j_{orders−1}.

    Zeros of one order lie between those of the order below, so that bisection finds them all.
    """
    roots = np.pi * np.arange(1, count + orders)
    found = [roots[:count]]
    for order in range(1, orders):
        low, high = roots[:-1], roots[1:]
        sign = np.sign(_recurrence(order, low, np))
        for _ in range(60):
            middle = (low + high) / 2
            before = np.sign(_recurrence(order, middle, np)) == sign
            low, high = np.where(before, middle, low), np.where(before, high, middle)
        roots = (low + high) / 2
        found.append(roots[:count])
    return np.array(found)


def spherical_basis(
    r: Float[Array, "*n"], orders: int, count: int, cutoff: float, power: int
) -> Float[Array, "*n order radial"]:
    """Radial parts of the waves in a sphere, of norm 1 in it, times an envelope u(x)/x.

    √2 / |j_{l+1}(z_ln)| · j_l(z_ln x), x = r / cutoff, with z_ln the n-th zero of j_l and u
    `polynomial_cutoff`.
    """
    x = r / cutoff
    envelope = polynomial_cutoff(r, cutoff, power) / x
    waves = []
    for order, z in enumerate(zeros(orders, count)):
        factor = 2**0.5 / np.abs(_recurrence(order + 1, z, np))
        scaled = x[..., None] * jnp.broadcast_to(z.astype(x.dtype), (*x.shape, count))
        value = spherical_bessel(order, scaled)
        waves.append(value * jnp.broadcast_to(factor.astype(x.dtype), value.shape))
    return jnp.stack(waves, axis=-2) * envelope[..., None, None]
