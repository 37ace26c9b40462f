"""Score as the library of the method's author does, and step by step from our procedure to his.

matscope 0.2.0 (J. Steier) takes composition from the features by Ridge with α = 1, once, on all
rows, then cross-validates Ridge with α = 1 on what is left. Its composition is fractions, its folds
are blocks of neighbours, and its examples take the first molecules of a file. So held-out rows
leak into the projection, some composition stays in the features, and molecules that stand side by
side in QM9, which are alike, are held out together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from cpdjax.checks.procedures import Alpha, projection_per_fold, raw_features
from cpdjax.errors import InputError
from cpdjax.probes.folds import block_folds, kfold

STEPS = (
    "ours: projection per fold, counts, shuffled folds, molecules drawn at random",
    "fractions for counts",
    "Ridge from composition on all rows for least squares per fold",
    "folds of neighbours for shuffled folds",
    "the first molecules for random ones: the author's library",
)
"""What each step changes; the ones before stay changed. The order is our choice."""


class Sample(NamedTuple):
    """Hold features, counts and targets of some molecules."""

    X: Float[np.ndarray, "molecule feature"]
    C: Float[np.ndarray, "molecule element"]
    Y: Float[np.ndarray, "molecule target"]


@dataclass(frozen=True)
class Toward:
    """Hold R² of every step from our procedure to that of the author's library."""

    r2: Float[np.ndarray, "step fold target"]

    @property
    def means(self) -> Float[np.ndarray, "step target"]:
        """Return the mean over folds, which is what the library reports."""
        return self.r2.mean(1)


def projection_by_ridge_on_all_rows(
    X: np.ndarray, C: np.ndarray, Y: np.ndarray, ids: Int[np.ndarray, " molecule"], alpha: Alpha
) -> Float[np.ndarray, "fold target"]:
    """Return R² of Ridge from what Ridge (α = 1) on standardised composition leaves of all rows."""
    centred = C - C.mean(0)
    deviation = centred.std(0)
    c = centred / np.where(deviation > 0, deviation, 1)
    b = np.linalg.solve(c.T @ c + np.eye(c.shape[1]), c.T @ (X - X.mean(0)))
    return raw_features(X - X.mean(0) - c @ b, C, Y, ids, alpha)


def as_the_authors_library(
    X: Float[np.ndarray, "molecule feature"],
    C: Float[np.ndarray, "molecule element"],
    Y: Float[np.ndarray, " molecule"] | Float[np.ndarray, "molecule target"],
    *,
    folds: int = 5,
    alpha: Alpha = 1.0,
) -> Float[np.ndarray, "fold target"]:
    """Return R² (fold, target) as matscope 0.2.0 computes it; it reports the mean over folds.

    Args:
        C: counts or fractions of the elements; fractions are made of them.

    >>> rng = np.random.default_rng(0)
    >>> X, C = rng.normal(size=(50, 3)), rng.integers(1, 5, (50, 2)).astype(float)
    >>> as_the_authors_library(X, C, X[:, 0]).shape
    (5, 1)
    """
    Y = np.asarray(Y, np.float64).reshape(len(X), -1)
    return projection_by_ridge_on_all_rows(X, _fractions(C), Y, block_folds(len(X), folds), alpha)


def toward_the_authors_library(
    drawn: Sample, first: Sample, *, folds: int = 5, alpha: Alpha = 1.0, seed: int = 0
) -> Toward:
    """Score every one of `STEPS`, so that what each changes stands by itself.

    Args:
        drawn: molecules drawn at random, in random order.
        first: as many molecules, the first of the file, in its order.

    Raises:
        InputError: the samples differ in size or columns, or `cpd` refuses them.
    """
    if any(np.shape(a) != np.shape(b) for a, b in zip(drawn, first, strict=True)):
        raise InputError(
            "both samples need equal shapes, so that nothing but the molecules differs, got "
            f"{[np.shape(a) for a in drawn]} and {[np.shape(a) for a in first]}"
        )
    X, C, Y = drawn
    shuffled, blocks = kfold(len(X), folds, seed=seed), block_folds(len(X), folds)
    fractions, leaking = _fractions(C), projection_by_ridge_on_all_rows
    return Toward(
        np.stack(
            [
                projection_per_fold(X, C, Y, shuffled, alpha),
                projection_per_fold(X, fractions, Y, shuffled, alpha),
                leaking(X, fractions, Y, shuffled, alpha),
                leaking(X, fractions, Y, blocks, alpha),
                as_the_authors_library(*first, folds=folds, alpha=alpha),
            ]
        )
    )


def _fractions(C: np.ndarray) -> Float[np.ndarray, "molecule element"]:
    return C / C.sum(1, keepdims=True)
