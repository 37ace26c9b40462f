"""Units of work run side by side here, as many as keep the devices busy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from typing import Any

import jax

from cpdjax.machine.threads import cores, one_blas_thread
from cpdjax.progress import stage


def each(work: Callable[[Any], Any], units: Sequence[Any], doing: str) -> Iterator[tuple[Any, Any]]:
    """Run `work` on units side by side, and return units and results as they finish."""
    with stage(doing, len(units)) as shown:
        if not units:
            return
        with parallel() as pool:
            futures = {pool.submit(work, unit): unit for unit in units}
            try:
                for future in as_completed(futures):
                    yield futures[future], future.result()
                    shown.advance()
            except BaseException:
                pool.shutdown(cancel_futures=True)  # units that have begun finish, and are kept
                raise


@contextmanager
def parallel() -> Iterator[ThreadPoolExecutor]:
    """Start the threads that keep all devices busy, with single-threaded BLAS.

    On a CPU that is one thread for each core, shared out among the devices that a CPU may be told
    to be: many small factorisations run faster side by side than each on all cores. On accelerators
    it is two, one of which prepares and keeps units while the devices compute for the other.
    """
    on_cpu = jax.default_backend() == "cpu"
    threads = cores() // jax.local_device_count() if on_cpu else 2
    with one_blas_thread(), ThreadPoolExecutor(max(threads, 1)) as pool:
        yield pool
