"""A stack holds the columns of all channels side by side, with what folds and projections need."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True, eq=False)
class Stack:
    """Hold the features of all channels that can be compared with each other, row by row.

    A row is a molecule or an atom; of vectors and tensors it is one component of it, so that maps
    of columns act on channels alone and turn with the molecule.
    """

    #: Finite, float64, without constant columns; the columns of a channel lie side by side.
    x: Float[np.ndarray, "row column"]
    #: The channel of every column, from 0, ascending.
    owner: Int[np.ndarray, " column"]
    #: The molecule of every row, from 0: folds keep it whole, and the bootstrap draws it.
    unit: Int[np.ndarray, " row"]
    #: The fold in which each row is held out, from 0.
    fold: Int[np.ndarray, " row"]
    #: Composition, then any further columns that a projection takes; None for vectors and tensors,
    #: whose mean is zero and which no composition explains: nothing is taken from them.
    concepts: Float[np.ndarray, "row concept"] | None
    #: How many of the concepts are composition itself.
    elements: int
    #: How many successive rows are the components of one vector or tensor: 2l+1, or 1 of scalars.
    components: int = 1

    @property
    def channels(self) -> int:
        """Return the number of channels."""
        return int(self.owner[-1]) + 1

    def columns(self, channel: int) -> slice:
        """Return where the columns of a channel lie."""
        first, last = np.searchsorted(self.owner, [channel, channel + 1])
        return slice(int(first), int(last))

    def permuted(self, order: Int[np.ndarray, " row"]) -> Stack:
        """Return the stack whose features are those of other rows; all else stays in its place."""
        return replace(self, x=self.x[order])
