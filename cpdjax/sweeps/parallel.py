"""Units of work run side by side, as many as the cores and the memory allow."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from typing import Any

import jax
from threadpoolctl import threadpool_limits

from cpdjax.probes.folds import Layout
from cpdjax.progress import progress_bar
from cpdjax.sweeps.channels import Channel


def each(
    work: Callable[[Any], Any], units: Sequence[Any], progress: bool, doing: str
) -> Iterator[tuple[Any, Any]]:
    """Every unit with what `work` makes of it, as they finish, one a core at a time."""
    if not units:
        return
    with parallel(jax.default_backend() == "cpu") as pool, progress_bar(progress) as bar:
        task = bar.add_task(doing, total=len(units))
        futures = {pool.submit(work, unit): unit for unit in units}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
                bar.advance(task)
        except BaseException:
            pool.shutdown(cancel_futures=True)  # units under way finish, and are kept
            raise


@contextmanager
def parallel(on_cpu: bool) -> Iterator[ThreadPoolExecutor]:
    """One thread a core, each with single-threaded LAPACK; an accelerator needs one thread.

    Many small factorisations run faster side by side than each on all cores.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with (
        threadpool_limits(1 if on_cpu else None, user_api="blas"),
        ThreadPoolExecutor(cores if on_cpu else 1) as pool,
    ):
        yield pool


def fit_in_memory(found: Sequence[Channel], layout: Layout) -> int:
    """Channels whose probes fit in half of the device's memory."""
    stats = jax.local_devices()[0].memory_stats() or {}
    limit = stats.get("bytes_limit", 2**32) // 2
    width = max(c.width for c in found)
    _, folds, slots = layout.index.shape
    rows = folds * slots * max(c.components for c in found)
    # All folds at once: their rows gathered, and some eight square matrices.
    one = 8 * folds * width * (rows + 8 * min(width, rows))
    return max(int(limit // one), 1)
