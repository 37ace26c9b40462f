"""Threads of BLAS, which must not spin beside XLA's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import jax
from threadpoolctl import threadpool_limits


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Limit BLAS to one thread inside a `with` block, where the default device is a CPU.

    The threads of OpenBLAS keep spinning after each small factorisation and take the cores from
    XLA. An accelerator leaves the cores to them.
    """
    limit = 1 if jax.default_backend() == "cpu" else None
    with threadpool_limits(limit, user_api="blas"):
        yield
