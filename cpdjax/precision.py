"""The precision of the arithmetic: which floating type the device has, asked for locally."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from cpdjax.errors import InputError


def default_dtype() -> np.dtype:
    """float64 wherever the default backend has it."""
    return np.dtype(np.float32 if jax.default_backend() == "tpu" else np.float64)


def default_batch_size() -> int | None:
    """Folds and repeats at once: one after the other on a CPU, many on an accelerator."""
    return None if jax.default_backend() == "cpu" else 64


def centred(a: Any) -> Float[np.ndarray, "*stack molecule column"]:
    """Shifted to mean zero over molecules, in float64, before it is narrowed to float32.

    Every fit has an intercept, so the shift changes no score; in a narrow type it saves digits.
    """
    wide = np.asarray(a, np.float64)
    return wide - wide.mean(-2, keepdims=True)


def precision(dtype: Any) -> AbstractContextManager[Any]:
    """Allow float64 for the time of a `with` block, if that is what `dtype` is."""
    return jax.enable_x64(True) if jnp.dtype(dtype).itemsize >= 8 else nullcontext()


def float_dtype(dtype: Any) -> np.dtype:
    """float32 or float64; None: the wider of those that the backend has.

    Raises:
        InputError: any other.
    """
    if dtype is None:
        return np.dtype("float32" if jax.default_backend() == "tpu" else "float64")
    try:
        known = np.dtype(dtype)
    except TypeError:
        known = None
    if known not in (np.float32, np.float64):
        raise InputError(f"dtype must be float32 or float64, got {dtype!r}")
    return np.dtype(known)
