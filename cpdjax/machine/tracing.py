"""Tell arrays that have values from those that JAX traces."""

from __future__ import annotations

from typing import Any

import jax


def any_traced(*arrays: Any) -> bool:
    """Return whether any of the arrays has no values yet, being inside a transformation of JAX."""
    return any(isinstance(a, jax.core.Tracer) for a in arrays)
