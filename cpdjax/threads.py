"""Keep the threads of BLAS from spinning beside those of XLA."""

from __future__ import annotations

import os
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


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
