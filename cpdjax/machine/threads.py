"""Count the cores, and keep the threads of BLAS from spinning beside those of XLA on them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import jax
from threadpoolctl import ThreadpoolController


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Limit OpenBLAS to one thread inside a `with` block, where the default device is a CPU.

    The threads of OpenBLAS keep spinning after each small factorisation and take the cores from
    XLA. An accelerator leaves the cores to them. Blocks may overlap in any order in several threads
    of Python: there is one setting for all, which is given back when the last block ends.
    """
    if jax.default_backend() != "cpu":
        yield
        return
    _LIMIT.enter()
    try:
        yield
    finally:
        _LIMIT.leave()


class _Limit:
    """Hold every OpenBLAS of this process at one thread for as long as anyone is inside.

    Other libraries, and OpenBLAS on OpenMP, have a setting for each thread of the process: that of
    Python's threads would not reach those of XLA, which call them.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._inside = 0
        self._imported = 0
        self._libraries: list[Any] = []
        #: The libraries that are limited, each with the number of threads that it had.
        self._before: dict[str, tuple[Any, int]] = {}

    def enter(self) -> None:
        """Limit what is not limited yet, in some ten microseconds."""
        with self._lock:
            self._look_again()
            for library in self._libraries:
                if library.filepath not in self._before:
                    self._before[library.filepath] = library, library.num_threads
                    _set(library, 1)
            self._inside += 1

    def leave(self) -> None:
        """Give the libraries their threads back if nobody else is inside."""
        with self._lock:
            self._inside -= 1
            if not self._inside:
                for library, threads in self._before.values():
                    _set(library, threads)
                self._before.clear()

    def _look_again(self) -> None:
        """Find the libraries, which takes a millisecond, if any may have been loaded since."""
        if len(sys.modules) != self._imported:  # a library comes with the module that needs it
            self._imported = len(sys.modules)
            self._libraries = [
                library
                for library in ThreadpoolController().lib_controllers
                if library.internal_api == "openblas" and library.threading_layer != "openmp"
            ]


def _set(library: Any, threads: int) -> None:
    """Set a library's threads, whichever thread of Python has set them before.

    From version 3.8 on, threadpoolctl obeys no other thread than the first until it is released.
    """
    release = getattr(library, "clear_controlling_thread", lambda force: None)
    release(force=True)
    library.set_num_threads(threads)
    release(force=True)


_LIMIT = _Limit()


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
