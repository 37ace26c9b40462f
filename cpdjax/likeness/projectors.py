"""Fit projections as maps of rows, which serve thousands of columns at the price of a few.

They equal those of `kernel.projection`, which find coefficients from moments for one channel.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from cpdjax.errors import UnknownNameError

#: The projections under which channels can be compared: those that are linear in the features.
PROJECTIONS = ("none", "ols", "bonds", "groups", "formula")


class Projector(NamedTuple):
    """Hold a projection fitted on training rows: it predicts h qᵀ X_train for held-out rows."""

    #: Orthonormal columns that span what the projection takes from the training rows.
    q: Float[np.ndarray, "train direction"]
    h: Float[np.ndarray, "held_out direction"]


class Concepts(NamedTuple):
    """Hold what a projection regresses on, for every row."""

    #: The columns of the regression; None for vectors and tensors, from which nothing is taken.
    columns: Float[np.ndarray, "row concept"] | None
    #: The number of each row's formula, where the projection is by formula; otherwise None.
    formula: Int[np.ndarray, " row"] | None = None

    @classmethod
    def of(
        cls, concepts: Float[np.ndarray, "row concept"] | None, elements: int, projection: str
    ) -> Concepts:
        """Return the concepts of a projection by its name; the first `elements` are composition.

        Raises:
            UnknownNameError: when channels cannot be compared under a projection of that name.
        """
        if projection not in PROJECTIONS:
            raise UnknownNameError("projection", projection, PROJECTIONS)
        if concepts is None:
            return cls(None)
        if projection == "none":
            return cls(concepts[:, :0])
        if projection != "formula":
            return cls(concepts)
        composition = concepts[:, :elements]
        return cls(composition, np.unique(composition, axis=0, return_inverse=True)[1].ravel())

    def projector(
        self, train: Bool[np.ndarray, " row"], held_out: Bool[np.ndarray, " row"]
    ) -> Projector:
        """Return the projection fitted on the rows `train`, for the rows `held_out`."""
        if self.columns is None:
            return Projector(np.zeros((train.sum(), 0)), np.zeros((held_out.sum(), 0)))
        linear = least_squares(self.columns[train], self.columns[held_out])
        if self.formula is None:
            return linear
        return within_formula(linear, self.formula[train], self.formula[held_out])

    def span(self, rows: Bool[np.ndarray, " row"]) -> Float[np.ndarray, "row direction"]:
        """Return orthonormal columns that span whatever a projection can predict on some rows."""
        # A decomposition without a tolerance: it spans nearly dependent columns as well.
        if self.columns is None:
            return np.zeros((rows.sum(), 0))
        if self.formula is not None:
            return _indicators(self.formula[rows])[1]
        c = self.columns[rows] - self.columns[rows].mean(0)
        length = np.linalg.norm(c, axis=0)
        ones = np.ones((len(c), 1))
        return np.linalg.qr(np.hstack([ones, c / np.where(length > 0, length, 1)]))[0]


def least_squares(
    train: Float[np.ndarray, "train concept"], held_out: Float[np.ndarray, "held_out concept"]
) -> Projector:
    """Fit least squares with an intercept: the shortest solution, as in `kernel.projection`."""
    mean = train.mean(0)
    c = train - mean
    length = np.linalg.norm(c, axis=0)
    present = length > 0
    scale = 1 / length[present]
    scaled = c[:, present] * scale
    eigenvalues, vectors = np.linalg.eigh(scaled.T @ scaled)
    kept = eigenvalues > 8 * c.shape[1] * np.finfo(c.dtype).eps
    q, r = np.linalg.qr(scaled @ vectors[:, kept])
    coefficients = np.linalg.solve(r.T, vectors[:, kept].T).T * scale[:, None]
    # Coefficients along what is constant in training would predict something for other rows.
    null = np.linalg.qr(scale[:, None] * vectors[:, ~kept])[0]
    coefficients -= null @ (null.T @ coefficients)
    return Projector(
        np.column_stack([np.full(len(c), len(c) ** -0.5), q]),
        np.column_stack(
            [
                np.full(len(held_out), len(c) ** -0.5),
                (held_out - mean)[:, present] @ coefficients,
            ]
        ),
    )


def within_formula(
    linear: Projector, train: Int[np.ndarray, " train"], held_out: Int[np.ndarray, " held_out"]
) -> Projector:
    """Fit the mean of every formula in training; for other formulas, what `linear` predicts."""
    seen, q = _indicators(train)
    place = np.searchsorted(seen, held_out)
    known = np.isin(held_out, seen)
    # Composition is constant within a formula, so `linear` sees means of formulas alone.
    h = linear.h @ (linear.q.T @ q)
    count = (q > 0).sum(0)
    h[known] = np.eye(len(seen))[place[known]] / np.sqrt(count)
    return Projector(q, h)


def _indicators(
    formula: Int[np.ndarray, " row"],
) -> tuple[Int[np.ndarray, " formula"], Float[np.ndarray, "row formula"]]:
    """Return the formulas of some rows, and for each a column of unit length on its rows."""
    seen, place, count = np.unique(formula, return_inverse=True, return_counts=True)
    return seen, np.eye(len(seen))[place] / np.sqrt(count)
