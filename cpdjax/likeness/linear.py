"""Compare one channel with all others by what is linear: R² of Ridge, CKA and CCA."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from cpdjax.likeness.prepared import Prepared


class LinearRow(NamedTuple):
    """Hold sums between one channel, a, and every channel b; replicates have draws in front."""

    #: R² of Ridge from a to b on the rows that a fold holds out.
    r2: Float[np.ndarray, "*draw fold channel"]
    #: ‖e_aᵀ e_b‖²_F.
    overlap: Float[np.ndarray, "*draw channel"]
    #: What rows contribute to `overlap` by themselves: Σᵢ ‖e_ia‖² ‖e_ib‖².
    diagonal: Float[np.ndarray, "*draw channel"]
    #: ‖whitened e_aᵀ e_b‖²_F.
    canonical: Float[np.ndarray, "*draw channel"]


def linear_row(
    left: Prepared,
    right: Prepared,
    channel: int,
    weights: Float[np.ndarray, "draw unit"] | None = None,
) -> tuple[LinearRow, LinearRow | None]:
    """Return the sums between a channel of `left` and all of `right`, and their replicates."""
    raise NotImplementedError
