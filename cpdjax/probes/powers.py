"""Multiply by powers of two, which changes no digit."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from cpdjax.machine.tracing import any_traced


def exponent_of(size: Any) -> Any:
    """Return e with  2^(e-1) ≤ size < 2^e;  0 where the size is 0.

    >>> exponent_of(np.array([1.0, 0.75, 0.0])).tolist()
    [1, 0, 0]
    """
    xp: Any = jnp if any_traced(size) else np
    return xp.frexp(size)[1].astype(np.int32)


def multiplied(a: Any, exponent: Any) -> Any:
    """Return  a · 2^exponent, exactly unless the result is subnormal or too large.

    >>> multiplied(np.array([[1.0, 3.0]]), np.array([1, -1])).tolist()
    [[2.0, 1.5]]
    """
    exponent = exponent.reshape((1,) * (a.ndim - exponent.ndim) + exponent.shape)
    if not any_traced(a, exponent):
        exponent = np.asarray(exponent)
        return np.ldexp(np.asarray(a, np.float64), exponent) if exponent.any() else a
    # One factor might be too large although the result is not. Two factors never are.
    half = exponent // 2
    return a * _power_of_two(half, a.dtype) * _power_of_two(exponent - half, a.dtype)


def _power_of_two(exponent: Array, dtype: Any) -> Array:
    """Return 2^exponent exactly, for exponents of normal numbers.

    The function `exp2` and powers are rounded on some platforms.
    """
    info = jnp.finfo(dtype)
    whole = jnp.dtype(f"int{8 * info.dtype.itemsize}")
    bits = (jnp.asarray(exponent, whole) + whole.type(info.maxexp - 1)) << whole.type(info.nmant)
    return lax.bitcast_convert_type(bits, dtype)
