"""Choose the floating type of the arithmetic, and allow float64 locally."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cpdjax.errors import InputError


def default_dtype() -> np.dtype:
    """Return float64, or float32 where JAX's default backend is a TPU, which has no float64."""
    return np.dtype(np.float32 if jax.default_backend() == "tpu" else np.float64)


def float_dtype(dtype: Any) -> np.dtype:
    """Return `dtype` as a NumPy dtype; None stands for `default_dtype`.

    Raises:
        InputError: if `dtype` is neither float32 nor float64.
    """
    if dtype is None:
        return default_dtype()
    try:
        known = np.dtype(dtype)
    except TypeError:
        known = None
    if known not in (np.float32, np.float64):
        raise InputError(f"dtype must be float32 or float64, got {dtype!r}")
    return np.dtype(known)


@contextmanager
def precision(dtype: Any) -> Iterator[None]:
    """Allow float64 inside a `with` block, if `dtype` is that wide, and lift JAX's debugging flags.

    The arithmetic inside is ours: NaN is the R² of a constant target and no accident, and arrays
    come from the host and return there.
    """
    wide = jax.enable_x64(True) if jnp.dtype(dtype).itemsize >= 8 else nullcontext()
    with wide, jax.debug_nans(False), jax.debug_infs(False), jax.transfer_guard("allow"):
        yield


def default_batch_size() -> int | None:
    """Return how many folds and repeats run at once: 64, or None (one by one) on a CPU."""
    return None if jax.default_backend() == "cpu" else 64
