"""Bring columns to a size at which no square leaves the floating type, and no digit is lost.

A column in another unit holds the same numbers times a constant. Where that constant is a power of
two, only exponents change: a score then stays the same to the last bit. So every column that is
very large or very small is divided by a power of two before any product is formed. NumPy does this
in float64, since compiled code takes subnormal numbers for zero; columns of ordinary size are left
alone.

What depends on the relative sizes of columns keeps them:

- Without `standardize`, the penalty α has the unit of the features squared. These stay as they are,
  and are refused where their squares would not fit.
- Where the columns of composition are linearly dependent, the shortest coefficients depend on the
  columns' sizes relative to each other. All columns get one power of two, but none stays smaller
  than 2^-room of the largest: a coefficient shorter than that is zero beside the others.
- The equivariant probe takes a channel for rounding where it is tiny beside the largest one. All
  channels get one power of two.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Int

from cpdjax.errors import InputError
from cpdjax.kernel.options import Options
from cpdjax.kernel.projection import concepts
from cpdjax.precision import centred

#: Axes of a matrix of columns and of a stack of tensors (…, row, column, m) that are no columns.
ROWS, ROWS_AND_COMPONENTS = (-2,), (-3, -1)


class Inputs(NamedTuple):
    """Hold what a kernel takes, and the power of two that every target was divided by."""

    arrays: tuple[Any, ...]
    unit: Int[Array | np.ndarray, "..."]


def of_scalars(x: Any, c: Any, y: Any, alphas: Any, options: Options, dtype: Any) -> Inputs:
    """Return features, concepts (composition first), targets and α as `kernel.probe` takes them.

    Raises:
        InputError: values whose squares do not fit `dtype` whatever the unit, and as `concepts`.
    """
    (c, y), unit = beside_scalars(c, y, options, dtype)
    return Inputs((scalar_features(x, alphas, options, dtype), c, y, alphas), unit)


def of_tensors(x: Any, y: Any, alphas: Any, options: Options, dtype: Any) -> Inputs:
    """Return channels, targets and α as `kernel.equivariant_probe` takes them.

    Raises:
        InputError: values whose squares do not fit `dtype` whatever the unit.
    """
    (y,), unit = beside_tensors(y, dtype)
    return Inputs((tensor_features(x, alphas, options, dtype), y, alphas), unit)


def scalar_features(x: Any, alphas: Any, options: Options, dtype: Any) -> Any:
    """Return features, or a stack of them, as `of_scalars` does."""
    return _features(x, alphas, options, jnp.dtype(dtype), ROWS, center=True)


def tensor_features(x: Any, alphas: Any, options: Options, dtype: Any) -> Any:
    """Return channels, or a stack of them, as `of_tensors` does."""
    return _features(x, alphas, options, jnp.dtype(dtype), (-3, -2, -1))


def beside_scalars(c: Any, y: Any, options: Options, dtype: Any) -> Inputs:
    """Return concepts and targets as `of_scalars` does, whatever the features."""
    dtype = jnp.dtype(dtype)
    c = _alike(concepts(_alike(c, dtype), options.projection), dtype)
    y, unit = _divided("Y", y, dtype, ROWS, center=True)
    return Inputs((c, y), unit)


def beside_tensors(y: Any, dtype: Any) -> Inputs:
    """Return targets as `of_tensors` does, whatever the channels."""
    y, unit = _divided("Y", y, jnp.dtype(dtype), ROWS_AND_COMPONENTS)
    return Inputs((y,), unit)


def multiplied(a: Any, exponent: Any) -> Any:
    """Return  a · 2^exponent, exactly unless the result is subnormal or too large.

    >>> multiplied(np.array([[1.0, 3.0]]), np.array([1, -1])).tolist()
    [[2.0, 1.5]]
    """
    exponent = exponent.reshape((1,) * (a.ndim - exponent.ndim) + exponent.shape)
    if not _traced(a, exponent):
        exponent = np.asarray(exponent)
        return np.ldexp(np.asarray(a, np.float64), exponent) if exponent.any() else a
    # One factor might be too large although the result is not. Two factors never are.
    half = exponent // 2
    return a * _power_of_two(half, a.dtype) * _power_of_two(exponent - half, a.dtype)


def _features(
    x: Any,
    alphas: Any,
    options: Options,
    dtype: np.dtype,
    axes: tuple[int, ...],
    *,
    center: bool = False,
) -> Any:
    if options.standardize:
        return _divided("X", x, dtype, axes, center=center)[0]
    if _traced(x, alphas):
        return x
    _check_squares(x, alphas, dtype, axes)
    return centred(x) if center and dtype.itemsize < 8 else x


def _divided(
    name: str, a: Any, dtype: np.dtype, axes: tuple[int, ...], *, center: bool = False
) -> tuple[Any, Any]:
    """Return columns of which none is larger than 2^room or smaller than 2^-room, and exponents.

    Args:
        axes: over which one column extends.
        center: whether a mean may be subtracted before the values are narrowed to float32.
    """
    if _traced(a):
        a = a.astype(dtype)
        unit = _beyond(_exponents(a, axes), _room(a.dtype))
        return multiplied(a, -unit), unit
    exponents, wide = _exponents(a, axes), np.dtype(np.float64)
    _check_span(name, a, exponents, dtype, axes)
    unit = _beyond(exponents, _room(wide))
    a = multiplied(a, -unit)
    if dtype.itemsize >= wide.itemsize:
        return a, unit
    a = centred(a) if center else a
    rest = _beyond(_exponents(a, axes), _room(dtype))
    return multiplied(a, -rest), unit + rest


def _alike(c: Any, dtype: np.dtype) -> Any:
    """Return columns divided by one power of two, none smaller than 2^-room of the largest."""
    if _traced(c):
        c = c.astype(dtype)
    else:
        _check_span("C", c, _exponents(c, ROWS), dtype, ROWS)
    room = _room(dtype)
    largest = _exponents(c, (-2, -1))
    common = _beyond(largest, room)
    each = _exponents(c, ROWS) - common
    return multiplied(c, -(common + (each - (largest - common - room)).clip(max=0)))


def _exponents(a: Any, axes: tuple[int, ...]) -> Any:
    """Return e with  2^(e-1) ≤ largest magnitude < 2^e  along some axes, which are kept; 0 of 0."""
    xp: Any = jnp if _traced(a) else np
    a = lax.stop_gradient(a) if _traced(a) else np.asarray(a)
    wide = a.dtype if _traced(a) else np.float64
    # Two passes without the temporary array of an absolute value.
    high, low = (f(axis=axes, keepdims=True, initial=0).astype(wide) for f in (a.max, a.min))
    return xp.frexp(xp.maximum(high, -low))[1].astype(np.int32)


def _beyond(exponent: Any, room: int) -> Any:
    return exponent - exponent.clip(-room, room)


def _room(dtype: np.dtype) -> int:
    """Return the exponent up to which fourth powers, summed over any number of rows, still fit."""
    return int(jnp.finfo(dtype).maxexp) // 8


def _power_of_two(exponent: Array, dtype: Any) -> Array:
    """Return 2^exponent exactly, for exponents of normal numbers.

    The function `exp2` and powers are rounded on some platforms.
    """
    info = jnp.finfo(dtype)
    whole = jnp.dtype(f"int{8 * info.dtype.itemsize}")
    bits = (jnp.asarray(exponent, whole) + whole.type(info.maxexp - 1)) << whole.type(info.nmant)
    return lax.bitcast_convert_type(bits, dtype)


def _check_squares(x: Any, alphas: Any, dtype: np.dtype, axes: tuple[int, ...]) -> None:
    """Refuse features that must stay as they are, but whose squares do not fit."""
    info, x = jnp.finfo(dtype), np.asarray(x)
    largest = max(float(x.max(initial=0)), -float(x.min(initial=0)))
    if largest > float(np.sqrt(info.max / max(len(x), 1))) / 4:
        raise InputError(
            f"X holds values up to {largest:.0e}, whose squares overflow {dtype}, and without "
            "standardize α depends on their unit: rescale X, and α by the square of the factor"
        )
    # Squares that underflow are nothing beside any α but the very smallest.
    smallest = 2.0 ** (info.minexp // 2) / float(info.eps)
    sizes = np.abs(x).max(axis=axes, initial=0)
    if np.min(alphas) < info.tiny / info.eps and ((sizes > 0) & (sizes < smallest)).any():
        raise InputError(
            f"X holds columns of values up to {sizes[sizes > 0].min():.0e}, whose squares "
            f"underflow {dtype}: with α near 0, standardize or rescale X"
        )


def _check_span(
    name: str, a: Any, exponents: np.ndarray, dtype: np.dtype, axes: tuple[int, ...]
) -> None:
    """Refuse columns of values so far apart that the squares of both fit in no unit."""
    room = int(jnp.finfo(dtype).maxexp) // 2 - 8
    wild = exponents > room
    if not wild.any():
        return
    sizes = np.abs(np.asarray(a, np.float64))
    largest = sizes.max(axis=axes, keepdims=True)
    apart = wild & (sizes > 0) & (sizes < np.ldexp(largest, -room))
    if apart.any():
        where = tuple(np.argwhere(apart)[0])
        column = np.broadcast_to(largest, sizes.shape)[where]
        raise InputError(
            f"{name} holds values of {column:.0e} and of {sizes[where]:.0e} in one column, whose "
            f"squares do not both fit {dtype}: remove what stands for a missing value"
        )


def _traced(*arrays: Any) -> bool:
    return any(isinstance(a, jax.core.Tracer) for a in arrays)
