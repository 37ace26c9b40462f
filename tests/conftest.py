"""Strict JAX in every test: what passes here passes under a careful caller's settings."""

import jax
import pytest


@pytest.fixture(autouse=True)
def _strict_jax():
    """Float64, no silent promotion of types or ranks."""
    with (
        jax.enable_x64(True),
        jax.numpy_dtype_promotion("strict"),
        jax.numpy_rank_promotion("raise"),
    ):
        yield
