"""Compile the programs of probes with options of their own, and let go of them when they are many.

A program holds hundreds of memory maps, of which Linux allows a process 65,530.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cached_property, update_wrapper
from typing import Any

import jax

KEPT = 16
"""Limit the programs that one function keeps (our choice: all shapes of most sweeps)."""

#: Without XLA's fusion emitters a CPU's programs of the kernel compile in a quarter to a half less
#: time, and run as fast. At LLVM's level 0 they would compile in a third, but run 1.3 to 2.6 times
#: as long.
_ON_CPU = {"xla_cpu_use_fusion_emitters": False}


class Compiled:
    """A function that is compiled once for each shape of its arrays, as by `jax.jit`."""

    def __init__(self, function: Callable[..., Any], static: tuple[str, ...]):
        update_wrapper(self, function)
        self._function, self._static = function, static

    @cached_property
    def _jitted(self) -> Any:
        # Made at the first call: only then may JAX look for devices.
        flags = os.environ.get("XLA_FLAGS", "")
        on_cpu = jax.default_backend() == "cpu"
        options = {k: v for k, v in _ON_CPU.items() if on_cpu and k not in flags}
        return jax.jit(self._function, static_argnames=self._static, compiler_options=options)

    def __call__(self, *arrays: Any, **static: Any) -> Any:
        """Run the program for these shapes, compiled unless it is kept."""
        found = self._jitted(*arrays, **static)
        if self._jitted._cache_size() > KEPT:
            self._jitted.clear_cache()
        return found


def compiled(*static: str) -> Callable[[Callable[..., Any]], Compiled]:
    """Return a decorator that compiles a function, of whose arguments those named are static."""
    return lambda function: Compiled(function, static)
