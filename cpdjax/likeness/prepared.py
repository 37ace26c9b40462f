"""Prepare a stack: take out what a projection explains, and find what every measure needs once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float

from cpdjax.likeness.stack import Stack


class Own(NamedTuple):
    """Hold sums over the residual e of each channel by itself; replicates have draws in front."""

    #: tr eᵀe.
    trace: Float[np.ndarray, "*draw channel"]
    #: ‖eᵀe‖²_F.
    overlap: Float[np.ndarray, "*draw channel"]
    #: What rows contribute to `overlap` by themselves: Σᵢ ‖eᵢ‖⁴.
    diagonal: Float[np.ndarray, "*draw channel"]
    #: What regularisation leaves of each direction, λ/(λ+α), in descending order, then zeros.
    kept: Float[np.ndarray, "*draw channel direction"]
    #: The exponential of the entropy of λ / Σλ.
    effective_rank: Float[np.ndarray, "*draw channel"]


@dataclass(frozen=True, eq=False)
class Prepared:
    """Hold what a projection leaves of a stack, with what each channel's measures need of it."""

    stack: Stack
    alpha: float
    #: Held-out residuals, every row's from the fold that holds it out, about their mean over all
    #: rows (but for tensors), each channel in units of the root of its columns' mean variance.
    e: Float[np.ndarray, "row column"]
    own: Own
    own_replicates: Own | None

    @property
    def rows(self) -> float:
        """Return the number of rows about whose mean e is; infinite where no mean was taken."""
        return float("inf") if self.stack.concepts is None else float(len(self.stack.x))


def prepare(
    stack: Stack,
    projection: str,
    *,
    alpha: float,
    variance: float | None = None,
    weights: Float[Array, "draw unit"] | None = None,
) -> Prepared:
    """Return the residuals of a stack, with what each channel's measures need."""
    raise NotImplementedError
