"""Look once at the columns of an input, where it lies, and bring them to another size exactly.

The largest and the smallest value of a column say whether all of it is finite, how large it is, and
how large it still is once a shift is taken from it. So one pass over the data settles all of this.
Arrays on an accelerator stay there: the two values of each column come to the host.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from cpdjax.machine.precision import precision
from cpdjax.machine.tracing import any_traced
from cpdjax.probes.powers import exponent_of, multiplied
from cpdjax.validation import check_finite

#: Axes of a matrix of columns and of a stack of tensors (…, row, column, m) that are no columns:
#: that of the rows first.
ROWS, ROWS_AND_COMPONENTS, ALL_OF_TENSORS = (-2,), (-3, -1), (-3, -2, -1)
#: The numbers of a block of rows, which stays in a core's cache from one reduction to the next.
_BLOCK = 2**16
#: NumPy reduces shorter rows faster when it has turned a block's columns into rows.
_SHORT = 64
#: The rows whose mean stands for that of all, where it only must lie near.
_SAMPLE = 256


@dataclass(frozen=True)
class Columns:
    """Hold an array of columns, and the largest and the smallest value of each.

    Of traced arrays, whose values cannot be looked at, these are traced as well.
    """

    name: str
    array: Any
    axes: tuple[int, ...]
    """Over which one column extends; `high` and `low` keep them with length one."""
    high: Any
    low: Any
    shift: Any = None
    """What `narrowed` subtracts, and `high` and `low` are without; None for nothing."""

    @classmethod
    def of(cls, name: str, array: Any, axes: tuple[int, ...]) -> Columns:
        """Measure the columns of an array.

        Raises:
            InputError: a value is NaN or infinite.
        """
        if not array.size:
            return cls(name, array, axes, *[array.sum(axes, keepdims=True)] * 2)  # zeros
        if any_traced(array):
            return cls(name, array, axes, *_ends(lax.stop_gradient(array), axes))
        found = cls(name, array, axes, *_measured(array, axes))
        if not np.isfinite(found.size).all():
            by_row = np.moveaxis(np.asarray(array), axes[0], 0)
            check_finite(name, by_row.reshape(len(by_row), -1))
        return found

    @property
    def size(self) -> Any:
        """Return the largest magnitude in each column."""
        xp: Any = jnp if any_traced(self.high) else np
        return xp.maximum(self.high, -self.low)

    @property
    def exponent(self) -> Any:
        """Return e with  2^(e-1) ≤ size < 2^e;  0 where the size is 0."""
        return exponent_of(self.size)

    def divided(self, exponent: Any) -> Columns:
        """Return the columns divided by 2^exponent."""
        array, high, low = (multiplied(a, -exponent) for a in (self.array, self.high, self.low))
        return replace(self, array=array, high=high, low=low)

    def centred(self) -> Columns:
        """Return the columns to be shifted by about their means over rows.

        Every fit has an intercept, so a shift changes no score, and it saves digits where the
        columns are narrowed to float32. A column that differs from its mean by no more than 100 eps
        of it is constant but for rounding, which nothing shows any more once the mean is gone: it
        becomes 0.
        """
        shift = _near_mean(self.array, self.axes)
        high, low = self.high - shift, self.low - shift
        varies = np.maximum(high, -low) > 100 * np.finfo(np.float64).eps * np.abs(shift)
        return replace(self, high=high * varies, low=low * varies, shift=shift)

    def narrowed(self, exponent: Any, dtype: np.dtype) -> Any:
        """Return the array in `dtype`, less the shift, divided by 2^exponent."""
        if self.shift is None:
            return multiplied(self.array, -exponent)
        factor = np.where(self.size > 0, np.ldexp(1.0, -exponent), 0)
        if _on_accelerator(self.array):
            with precision(np.float64):
                return _shifted(self.array, self.shift, factor, dtype)
        array, narrow = np.asarray(self.array), np.empty(self.array.shape, dtype)
        if (factor == 1).all():
            return np.subtract(array, self.shift, out=narrow, casting="same_kind")
        left = np.subtract(array, self.shift, dtype=np.float64)  # beyond float32 perhaps
        return np.multiply(left, factor, out=narrow, casting="same_kind")


def _measured(array: Any, axes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest and the smallest value of every column, in float64 on the host."""
    if _on_accelerator(array):
        with precision(np.float64):
            high, low = jax.device_get(_ends_on_device(array, axes))
    else:
        high, low = _ends_on_host(np.asarray(array), axes)
    return high.astype(np.float64), low.astype(np.float64)


def _ends(a: Any, axes: tuple[int, ...]) -> tuple[Any, Any]:
    """Return the largest and the smallest value of every column."""
    return a.max(axes, keepdims=True), a.min(axes, keepdims=True)


@partial(jax.jit, static_argnames="axes")
def _ends_on_device(a: Array, axes: tuple[int, ...]) -> tuple[Array, Array]:
    """Return the largest and the smallest value of every column; NaN where one is not finite."""
    if not jnp.issubdtype(a.dtype, jnp.floating):
        return _ends(a, axes)
    # Compiled maxima may lose NaN on their way: XLA's do on a CPU.
    finite = jnp.isfinite(a).all(axes, keepdims=True)
    high, low = (jnp.where(finite, end, jnp.nan) for end in _ends(a, axes))
    return high, low


def _ends_on_host(a: np.ndarray, axes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest and the smallest value of every column; NaN where there is one."""
    rows, *others = axes
    by_row = np.moveaxis(a, rows, 0)
    step = max(_BLOCK * len(by_row) // by_row.size, 1)
    both = []
    for first in range(0, len(by_row), step):
        block = by_row[first : first + step]
        block = np.asfortranarray(block) if block[0].size < _SHORT else block
        both.append((block.max(0), block.min(0)))
    high, low = (np.expand_dims(np.array(ends), rows) for ends in zip(*both, strict=True))
    over = (0, *others)
    return high.max(over, keepdims=True)[0], low.min(over, keepdims=True)[0]


def _near_mean(a: Any, axes: tuple[int, ...]) -> np.ndarray:
    """Return about the mean of every column: that of some rows, in the array's own precision."""
    rows = a.shape[axes[0]]
    some = [slice(None)] * a.ndim
    some[axes[0]] = slice(None, None, max(rows // _SAMPLE, 1))
    with precision(np.float64):
        sample = np.asarray(a[tuple(some)])
    mean: np.ndarray = sample.mean(axes, keepdims=True, dtype=np.float64)
    return mean.astype(np.result_type(sample.dtype, np.float32))


@partial(jax.jit, static_argnames="dtype")
def _shifted(a: Array, shift: Array, factor: Array, dtype: np.dtype) -> Array:
    """Return the columns less the shift, times a factor."""
    return ((a.astype(factor.dtype) - shift.astype(factor.dtype)) * factor).astype(dtype)


def _on_accelerator(array: Any) -> bool:
    """Return whether an array lies elsewhere than in the memory that NumPy reads."""
    return isinstance(array, jax.Array) and any(d.platform != "cpu" for d in array.devices())
