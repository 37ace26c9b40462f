"""Units of work run side by side here, as many as the cores and the memory allow."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from typing import Any

import jax

from cpdjax.probes.folds import Layout
from cpdjax.progress import progress_bar
from cpdjax.sweeps.channels import Channel
from cpdjax.threads import one_blas_thread


def each(
    work: Callable[[Any], Any], units: Sequence[Any], progress: bool, doing: str
) -> Iterator[tuple[Any, Any]]:
    """Run `work` on every unit, one on each core, and return units and results as they finish."""
    if not units:
        return
    with parallel() as pool, progress_bar(progress) as bar:
        task = bar.add_task(doing, total=len(units))
        futures = {pool.submit(work, unit): unit for unit in units}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
                bar.advance(task)
        except BaseException:
            pool.shutdown(cancel_futures=True)  # units that have begun still finish, and are kept
            raise


@contextmanager
def parallel() -> Iterator[ThreadPoolExecutor]:
    """Start one thread for each core, with single-threaded BLAS; one thread on an accelerator.

    Many small factorisations run faster side by side than each on all cores.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = cores if jax.default_backend() == "cpu" else 1
    with one_blas_thread(), ThreadPoolExecutor(threads) as pool:
        yield pool


def fit_in_memory(found: Sequence[Channel], layout: Layout) -> int:
    """Return how many channels of the widest shape fit in half of the device's memory."""
    stats = jax.local_devices()[0].memory_stats() or {}
    limit = stats.get("bytes_limit", 2**32) // 2
    width = max(c.width for c in found)
    _, folds, slots = layout.index.shape
    rows = folds * slots * max(c.components for c in found)
    # All folds run at once. Each gathers its rows, and holds some eight square matrices.
    one = 8 * folds * width * (rows + 8 * min(width, rows))
    return max(int(limit // one), 1)
