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

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from cpdjax.errors import InputError
from cpdjax.kernel.options import Options
from cpdjax.kernel.projection import concepts
from cpdjax.machine.tracing import any_traced
from cpdjax.probes.columns import ALL_OF_TENSORS, ROWS, ROWS_AND_COMPONENTS, Columns
from cpdjax.probes.powers import exponent_of

_WIDE = np.dtype(np.float64)


class Inputs(NamedTuple):
    """Hold what a kernel takes, and the power of two that every target was divided by."""

    arrays: tuple[Any, ...]
    unit: Int[Array | np.ndarray, "..."]


def of_scalars(x: Any, c: Any, y: Any, alphas: Any, options: Options, dtype: Any) -> Inputs:
    """Return features, concepts (composition first), targets and α as `kernel.probe` takes them.

    Raises:
        InputError: a value is NaN or infinite, values whose squares do not fit `dtype` whatever the
            unit, and as `concepts`.
    """
    features = scalar_features(x, alphas, options, dtype)
    (concepts, targets), unit = beside_scalars(c, y, options, dtype)
    return Inputs((features, concepts, targets, alphas), unit)


def of_tensors(x: Any, y: Any, alphas: Any, options: Options, dtype: Any) -> Inputs:
    """Return channels, targets and α as `kernel.equivariant_probe` takes them.

    Raises:
        InputError: a value is NaN or infinite, or values whose squares do not fit `dtype` whatever
            the unit.
    """
    channels = tensor_features(x, alphas, options, dtype)
    (targets,), unit = beside_tensors(y, dtype)
    return Inputs((channels, targets, alphas), unit)


def scalar_features(x: Any, alphas: Any, options: Options, dtype: Any) -> Any:
    """Return features, or a stack of them, as `of_scalars` does."""
    dtype = jnp.dtype(dtype)
    return _features(_columns("X", x, dtype, ROWS), alphas, options, dtype, center=True)


def tensor_features(x: Any, alphas: Any, options: Options, dtype: Any) -> Any:
    """Return channels, or a stack of them, as `of_tensors` does."""
    dtype = jnp.dtype(dtype)
    return _features(_columns("X", x, dtype, ALL_OF_TENSORS), alphas, options, dtype)


def beside_scalars(c: Any, y: Any, options: Options, dtype: Any) -> Inputs:
    """Return concepts and targets as `of_scalars` does, whatever the features."""
    dtype = jnp.dtype(dtype)
    composition, targets = (_columns(name, a, dtype, ROWS) for name, a in (("C", c), ("Y", y)))
    alike = _alike(composition, dtype)
    extended = concepts(alike, options.projection)
    if extended is not alike:
        extended = _alike(_columns("C", extended, dtype, ROWS), dtype)
    y, unit = _divided(targets, dtype, center=True)
    return Inputs((extended, y), unit)


def beside_tensors(y: Any, dtype: Any) -> Inputs:
    """Return targets as `of_tensors` does, whatever the channels."""
    dtype = jnp.dtype(dtype)
    y, unit = _divided(_columns("Y", y, dtype, ROWS_AND_COMPONENTS), dtype)
    return Inputs((y,), unit)


def _columns(name: str, a: Any, dtype: np.dtype, axes: tuple[int, ...]) -> Columns:
    return Columns.of(name, a.astype(dtype) if any_traced(a) else a, axes)


def _features(
    x: Columns, alphas: Any, options: Options, dtype: np.dtype, *, center: bool = False
) -> Any:
    if options.standardize:
        return _divided(x, dtype, center=center)[0]
    if any_traced(x.array, alphas):
        return x.array
    _check_squares(x, alphas, dtype)
    if not center or dtype.itemsize >= _WIDE.itemsize:
        return x.array
    return x.centred().narrowed(np.zeros_like(x.exponent), dtype)


def _divided(a: Columns, dtype: np.dtype, *, center: bool = False) -> tuple[Any, Any]:
    """Return columns of which none is larger than 2^room or smaller than 2^-room, and exponents.

    Args:
        center: whether a mean may be subtracted before the values are narrowed to float32.
    """
    if any_traced(a.array):
        unit = _beyond(a.exponent, _room(a.array.dtype))
        return a.divided(unit).array, unit
    _check_span(a, dtype)
    unit = _beyond(a.exponent, _room(_WIDE))
    a = a.divided(unit)
    if dtype.itemsize >= _WIDE.itemsize:
        return a.array, unit
    a = a.centred() if center else a
    rest = _beyond(a.exponent, _room(dtype))
    return a.narrowed(rest, dtype), unit + rest


def _alike(c: Columns, dtype: np.dtype) -> Any:
    """Return columns divided by one power of two, none smaller than 2^-room of the largest."""
    if not any_traced(c.array):
        _check_span(c, dtype)
    room = _room(dtype)
    largest = exponent_of(c.size.max(-1, keepdims=True))
    common = _beyond(largest, room)
    each = c.exponent - common
    return c.divided(common + (each - (largest - common - room)).clip(max=0)).array


def _beyond(exponent: Any, room: int) -> Any:
    return exponent - exponent.clip(-room, room)


def _room(dtype: np.dtype) -> int:
    """Return the exponent up to which fourth powers, summed over any number of rows, still fit."""
    return int(jnp.finfo(dtype).maxexp) // 8


def _check_squares(x: Columns, alphas: Any, dtype: np.dtype) -> None:
    """Refuse features that must stay as they are, but whose squares do not fit."""
    info, sizes = jnp.finfo(dtype), x.size
    largest = float(sizes.max(initial=0))
    if largest > float(np.sqrt(info.max / max(x.array.shape[x.axes[0]], 1))) / 4:
        raise InputError(
            f"X holds values up to {largest:.0e}, whose squares overflow {dtype}, and without "
            "standardize α depends on their unit: rescale X, and α by the square of the factor"
        )
    # Squares that underflow are nothing beside any α but the very smallest.
    smallest = 2.0 ** (info.minexp // 2) / float(info.eps)
    if np.min(alphas) < info.tiny / info.eps and ((sizes > 0) & (sizes < smallest)).any():
        raise InputError(
            f"X holds columns of values up to {sizes[sizes > 0].min():.0e}, whose squares "
            f"underflow {dtype}: with α near 0, standardize or rescale X"
        )


def _check_span(a: Columns, dtype: np.dtype) -> None:
    """Refuse columns of values so far apart that the squares of both fit in no unit."""
    room = int(jnp.finfo(dtype).maxexp) // 2 - 8
    wild = a.exponent > room
    if not wild.any():
        return
    sizes, largest = np.abs(np.asarray(a.array, np.float64)), a.size
    apart = wild & (sizes > 0) & (sizes < np.ldexp(largest, -room))
    if apart.any():
        where = tuple(np.argwhere(apart)[0])
        column = np.broadcast_to(largest, sizes.shape)[where]
        raise InputError(
            f"{a.name} holds values of {column:.0e} and of {sizes[where]:.0e} in one column, whose "
            f"squares do not both fit {dtype}: remove what stands for a missing value"
        )
