"""Compile functions of concrete arrays with the options under which they are ready soonest.

The options belong to each program: no flag of JAX or XLA is changed, and inside a caller's own
compiled function, which takes no options of ours, everything compiles by the caller's.

Programs are let go when they are many: each holds hundreds of memory maps, of which Linux allows a
process 65,530.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache, wraps
from typing import Any

import jax
import jax.numpy as jnp

#: XLA's emitters of fused loops compile slowly on a CPU. The older ones, and LLVM's first level of
#: optimisation, take 0.6 of the time, and the probe, whose time goes into LAPACK and matrix
#: products, runs as fast. Without any optimisation it compiles three times faster still, but runs
#: 1.5 times as long. Measured with jaxlib 0.10.2, 2,000 rows and 256 columns.
_ON_CPU = {"xla_cpu_use_fusion_emitters": False, "xla_backend_optimization_level": 1}

KEPT = 16
"""Limit the programs that one function keeps (our choice: all shapes of most sweeps)."""


def compiled(
    function: Callable[..., Any], static_argnames: tuple[str, ...] = ()
) -> Callable[..., Any]:
    """Return what `jax.jit` makes of a function, with our options for the platform."""

    @wraps(function)
    def call(*arguments: Any, **static: Any) -> Any:
        jitted = _jitted(function, static_argnames, jax.default_backend())
        found = jitted(*arguments, **static)
        if jitted._cache_size() > KEPT:
            jitted.clear_cache()
        return found

    return call


def padded_width(columns: int) -> int:
    """Return how many columns arrays of about this width are padded to: 16, 24, 32, 48, 64, 96, …

    Few different widths mean that few programs are compiled. Each takes as long to compile as
    dozens of calls take to run, so more widths would save less than they cost.

    >>> [padded_width(columns) for columns in (3, 17, 96, 97)]
    [16, 24, 96, 128]
    """
    columns = max(columns, 16)
    step: int = 2 ** (columns.bit_length() - 2)
    return -(-columns // step) * step


@cache
def _jitted(function: Callable[..., Any], static: tuple[str, ...], platform: str) -> Any:
    options = known(platform, **_ON_CPU) or None
    return jax.jit(function, static_argnames=static, compiler_options=options)


@cache
def known(platform: str, **on_cpu: Any) -> dict[str, Any]:
    """Return options of XLA for a CPU, but for those that the user's XLA_FLAGS name.

    There are none for other platforms, nor where this version of XLA knows one of them not.
    """
    if platform != "cpu":
        return {}
    flags = os.environ.get("XLA_FLAGS", "")
    options = {name: value for name, value in on_cpu.items() if f"--{name}" not in flags}
    try:
        jax.jit(jnp.negative, compiler_options=options)(0.0)
    except jax.errors.JaxRuntimeError:
        return {}
    return options
