"""Lay the residuals of all channels side by side, with what products of two channels need."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from cpdjax.likeness.layout import Layout
from cpdjax.likeness.projectors import Concepts
from cpdjax.likeness.residuals import Residuals
from cpdjax.likeness.stack import Stack


class Columns(NamedTuple):
    """Hold all columns side by side, in the units of `Prepared.e`; the last one is zeros.

    The letter x stands for what the projection leaves when it is fitted on all rows. It differs
    from e, and from what a fold's projection leaves of its training rows, by what a projection can
    predict. So inner products of all three follow from those of e, the one large product.
    """

    e: Float[Array, "fold column slot"]
    #: What must be added to e for the held-out residuals of a fold.
    shift: Float[Array, "fold column"]
    #: The mean of e over the rows of a fold; zero for tensors, whose mean is known to be zero.
    centre: Float[Array, "fold column"]
    #: x and e within the directions of a fold's rows that a projection can predict.
    predictable_x: Float[Array, "fold column direction"]
    predictable_e: Float[Array, "fold column direction"]
    #: qᵀx over the training rows of a fold; see `projectors.Projector`.
    fitted: Float[Array, "fold column direction"]
    #: For every channel 1 at its columns.
    owner: Float[Array, "channel column"]
    #: The sums of squares of a fold's residuals, and the same about the fold's mean.
    squares: Float[Array, "fold channel"]
    spread: Float[Array, "fold channel"]
    #: What single rows contribute to products; see `spectrum.pairs`.
    pairs: Float[Array, "fold vector pair channel"]
    #: 1 where a slot holds a row.
    present: Float[Array, "fold slot"]
    unit: Int[Array, "fold slot"]

    @classmethod
    def of(
        cls, stack: Stack, layout: Layout, concepts: Concepts, left: Sequence[Residuals],
        single: Float[np.ndarray, "vector pair channel"],
    ) -> Columns:  # fmt: skip
        """Lay out what is left of the channels of a stack, with `single` from `spectrum.pairs`."""
        e = layout.by_fold(np.hstack([r.e for r in left]))
        shift = np.pad(np.hstack([r.shift for r in left]), ((0, 0), (0, 1)))
        folds = range(len(e))
        present = layout.present.astype(float)
        rows = present.sum(1)[:, None]
        total = e.sum(2)
        centre = np.zeros_like(total) if stack.concepts is None else total / rows
        squares = (e**2).sum(2) + 2 * total * shift + rows * shift**2
        spans = [(concepts.span(h), h) for h in (stack.fold == k for k in folds)]
        owner = (np.arange(stack.channels)[:, None] == np.append(stack.owner, -1)).astype(float)
        vectors = layout.row[:, :: stack.components] // stack.components
        found = {
            "e": e,
            "shift": shift,
            "centre": centre,
            "predictable_x": _stacked([np.hstack([s.T @ r.x[h] for r in left]) for s, h in spans]),
            "predictable_e": _stacked([np.hstack([s.T @ r.e[h] for r in left]) for s, h in spans]),
            "fitted": _stacked([np.hstack([r.fitted[k] for r in left]) for k in folds]),
            "owner": owner,
            "squares": squares @ owner.T,
            "spread": (squares - rows * (shift + centre) ** 2) @ owner.T,
            "pairs": np.concatenate([single, np.zeros_like(single[:1])])[vectors],
            "present": present,
            "unit": stack.unit[layout.row] * layout.present,
        }
        return cls(**{name: jnp.asarray(a) for name, a in found.items()})


def _stacked(parts: list[Float[np.ndarray, "direction column"]]) -> np.ndarray:
    """Return (fold, column, direction), with a column and as many directions of zeros as needed."""
    most = max(len(p) for p in parts)
    return np.stack([np.pad(p.T, ((0, 1), (0, most - len(p)))) for p in parts])
