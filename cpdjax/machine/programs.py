"""Compile functions of concrete arrays with options under which they are right, and ready soonest.

The options belong to each program: no flag of JAX or XLA is changed, and inside a caller's own
compiled function, which takes no options of ours, everything compiles by the caller's.

Programs are let go when they are many: each holds hundreds of memory maps, of which Linux allows a
process 65,530.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache, wraps
from typing import Any, TypeVar, cast

import jax
import jax.numpy as jnp

from cpdjax.machine.tracing import any_traced

#: On a CPU, XLA hands products of matrices to YNNPACK together with what follows them. In jaxlib
#: 0.10.2 sums over the entries of a product come out wrong that way where arrays are large: ‖A x‖²
#: of 40,000 vectors x, or an R² above 1 (github.com/jax-ml/jax/issues/39103). A product handed over
#: on its own comes out right, and no measured probe or model takes longer.
_RIGHT = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"}

#: XLA's emitters of fused loops compile slowly on a CPU. The older ones, and LLVM's first level of
#: optimisation, take 0.6 of the time, and the probe, whose time goes into LAPACK and matrix
#: products, runs as fast. Without any optimisation it compiles three times faster still, but runs
#: 1.5 times as long. Measured with jaxlib 0.10.2, 2,000 rows and 256 columns.
_SOON = {"xla_cpu_use_fusion_emitters": False, "xla_backend_optimization_level": 1}

KEPT = 16
"""Limit the programs that one function keeps (our choice: all shapes of most sweeps)."""


_Result = TypeVar("_Result")


def compiled(
    function: Callable[..., _Result], static_argnames: tuple[str, ...] = ()
) -> Callable[..., _Result]:
    """Return what `jax.jit` makes of a function, with our options for the platform.

    Inside a transformation of JAX there are no values yet, and the function is compiled plainly.
    """
    plain = jax.jit(function, static_argnames=static_argnames)

    @wraps(function)
    def call(*arguments: Any, **static: Any) -> _Result:
        if any_traced(*jax.tree.leaves(arguments)):
            return cast(_Result, plain(*arguments, **static))
        jitted = _jitted(function, static_argnames, jax.default_backend())
        found: _Result = jitted(*arguments, **static)
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
def options(platform: str, **on_cpu: Any) -> dict[str, Any]:
    """Return options of XLA for a CPU: those for right results, and others.

    None are for other platforms, nor those that the user's XLA_FLAGS name, nor those that this
    version of XLA does not know.
    """
    if platform != "cpu":
        return {}
    flags = os.environ.get("XLA_FLAGS", "")
    wanted = {k: value for k, value in (_RIGHT | on_cpu).items() if f"--{k}" not in flags}
    if _are_known(wanted):
        return wanted
    return {name: value for name, value in wanted.items() if _are_known({name: value})}


def _are_known(wanted: dict[str, Any]) -> bool:
    try:
        jax.jit(jnp.negative, compiler_options=wanted)(0.0)
    except jax.errors.JaxRuntimeError:
        return False
    return True


@cache
def _jitted(function: Callable[..., Any], static: tuple[str, ...], platform: str) -> Any:
    found = options(platform, **_SOON) or None
    return jax.jit(function, static_argnames=static, compiler_options=found)
