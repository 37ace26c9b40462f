"""Strict JAX in every test: what passes here passes under a careful caller's settings."""

import gc
import os
from importlib.metadata import version
from pathlib import Path

# Most of the time of the tests is compilation. What one process has compiled all others load: the
# workers, the shells and notebooks they start, the next run. A bound on the size makes JAX lock it.
COMPILED = {
    "JAX_COMPILATION_CACHE_DIR": str(Path(__file__).parents[1] / ".pytest_cache" / "compiled"),
    "JAX_COMPILATION_CACHE_MAX_SIZE": str(2**30),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
}
os.environ |= COMPILED

# Without LLVM's optimisation and XLA's fusion emitters it takes a third of the time, and results
# differ by rounding alone; `XLA_FLAGS= pytest` tests what users run. Unknown flags are fatal.
if version("jaxlib").startswith("0.10."):
    quick = (
        "--xla_backend_optimization_level=0",
        "--xla_cpu_use_fusion_emitters=false",
        "--xla_cpu_parallel_codegen_split_count=1",  # each part costs more than it saves
    )
    os.environ.setdefault("XLA_FLAGS", " ".join(quick))

import jax  # noqa: E402
import pytest  # noqa: E402


def pytest_collection_finish():
    """Walk over what is loaded by now no more, and over the rest rarely, for garbage."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.fixture(autouse=True)
def _strict_jax():
    """Float64, no silent promotion of types or ranks."""
    with (
        jax.enable_x64(True),
        jax.numpy_dtype_promotion("strict"),
        jax.numpy_rank_promotion("raise"),
    ):
        yield
