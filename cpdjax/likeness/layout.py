"""Lay rows out by fold and columns by width, so that all sums are products of a few large arrays.

Values of one column are contiguous: matrix products then take half the time, as in the kernel.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from cpdjax.likeness.stack import Stack
from cpdjax.machine.programs import padded_width


class Layout(NamedTuple):
    """Hold where rows and columns go; slots and columns behind the last are zero."""

    #: Which rows a fold holds out, in their order; −1 marks padding.
    row: Int[np.ndarray, "fold slot"]
    #: The columns of every channel, up to its padded width; −1 marks padding.
    column: list[Int[np.ndarray, " width"]]

    @classmethod
    def of(cls, stack: Stack) -> Layout:
        """Return the layout of a stack."""
        folds = [np.flatnonzero(stack.fold == k) for k in range(stack.fold.max() + 1)]
        most = max(len(f) for f in folds)
        row = np.stack([np.pad(f, (0, most - len(f)), constant_values=-1) for f in folds])
        column = []
        for channel in range(stack.channels):
            own = np.flatnonzero(stack.owner == channel)
            more = padded_width(len(own)) - len(own)
            column.append(np.pad(own, (0, more), constant_values=-1))
        return cls(row, column)

    @property
    def present(self) -> Bool[np.ndarray, "fold slot"]:
        """Return which slots hold a row."""
        return self.row >= 0

    def by_fold(self, a: Float[np.ndarray, "row column"]) -> Float[np.ndarray, "fold column slot"]:
        """Return rows by fold, and behind the last column one of zeros."""
        found = np.zeros((len(self.row), a.shape[1] + 1, self.row.shape[1]))
        for k, rows in enumerate(self.row):
            own = rows[rows >= 0]
            found[k, :-1, : len(own)] = a[own].T
        return found


def padded(a: Float[np.ndarray, "*batch n n"], size: int) -> Float[np.ndarray, "*batch size size"]:
    """Return square matrices with rows and columns of zeros behind their own."""
    more = (0, size - a.shape[-1])
    return np.pad(a, [(0, 0)] * (a.ndim - 2) + [more, more])
