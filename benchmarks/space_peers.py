"""How alike two spaces are, written with other people's libraries, one pair at a time.

Every peer makes of one channel what the measure needs of it (`own`), and a number of two of these
(`pair`). A loop over pairs makes the former for both channels of every pair; one that keeps it does
so once for every channel. What is taken from the features is made once for all measures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.neighbors import NearestNeighbors

try:
    from netrep.metrics import LinearCKA, LinearMetric
except ImportError:
    LinearCKA = LinearMetric = None

ALPHA, NEIGHBOURS = 1.0, 10


@dataclass(frozen=True)
class Space:
    """Hold the features of one channel, and what is taken from them: composition, or the mean."""

    x: np.ndarray
    c: np.ndarray | None
    fold: np.ndarray

    @cached_property
    def residuals(self) -> list[np.ndarray]:
        """What is left of all rows by what every fold's training rows say."""
        return [self._residual(self.fold != k) for k in range(self.fold.max() + 1)]

    def _residual(self, trained: np.ndarray) -> np.ndarray:
        if self.c is None:
            return self.x - self.x[trained].mean(0)
        fitted = LinearRegression().fit(self.c[trained], self.x[trained])
        return self.x - fitted.predict(self.c)

    @cached_property
    def held_out(self) -> np.ndarray:
        """What is left of every row by those folds that train without it, centred; or all of x."""
        if self.c is None:
            left = self.x.copy()
        else:
            left = np.stack(self.residuals)[self.fold, np.arange(len(self.x))]
        left -= left.mean(0)
        return left / np.sqrt(left.var(0).mean())


def held_out(space: Space) -> np.ndarray:
    return space.held_out


@dataclass(frozen=True)
class Peer:
    """A measure: what it needs of one channel, and what it says of two."""

    own: Callable[[Space], Any]
    pair: Callable[[Any, Any], float]
    #: Whether a to b and b to a are two numbers.
    directed: bool = False


# ---------------------------------------------------------------- linear


def in_folds(space: Space) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the training and the held-out residual of every fold, in the units of the former."""
    found = []
    for k, left in enumerate(space.residuals):
        held = space.fold == k
        unit = np.sqrt(left[~held].var(0).mean())
        found.append((left[~held] / unit, left[held] / unit))
    return found


def r2(a: list[tuple[np.ndarray, np.ndarray]], b: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """Return the mean over folds of R² of scikit-learn's Ridge, all columns of b together."""
    scores = []
    for (x, x_held), (y, y_held) in zip(a, b, strict=True):
        wrong = y_held - Ridge(alpha=ALPHA, solver="cholesky").fit(x, y).predict(x_held)
        scores.append(1 - (wrong**2).sum() / ((y_held - y_held.mean(0)) ** 2).sum())
    return float(np.mean(scores))


def with_gram(space: Space) -> tuple[np.ndarray, float]:
    e = space.held_out
    return e, np.linalg.norm(e.T @ e)


def cka(a: tuple[np.ndarray, float], b: tuple[np.ndarray, float]) -> float:
    """Return linear CKA from moments of features, the fast way."""
    return float(np.linalg.norm(a[0].T @ b[0]) ** 2 / (a[1] * b[1]))


def u_centred(space: Space) -> tuple[np.ndarray, float]:
    """Return the U-centred Gram matrix of the rows, whose product is the estimator HSIC₁."""
    e = space.held_out
    gram, n = e @ e.T, len(e)
    np.fill_diagonal(gram, 0)
    means = gram.sum(0) / (n - 2)
    gram += gram.sum() / ((n - 1) * (n - 2)) - means - means[:, None]
    np.fill_diagonal(gram, 0)
    return gram, np.linalg.norm(gram)


def cka_debiased(a: tuple[np.ndarray, float], b: tuple[np.ndarray, float]) -> float:
    return float(np.vdot(a[0], b[0]) / (a[1] * b[1]))


def whitened(space: Space) -> tuple[np.ndarray, np.ndarray]:
    """Return e (eᵀe + α)^(−½), and how much the penalty leaves of every direction."""
    e = space.held_out
    values, vectors = np.linalg.eigh(e.T @ e)
    values = np.maximum(values, 0)
    return e @ vectors / np.sqrt(values + ALPHA), (values / (values + ALPHA))[::-1]


def cca(a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray]) -> float:
    """Return the mean squared canonical correlation, 1 where the spaces are the same."""
    number = min(len(a[1]), len(b[1]))
    most = (a[1][:number] * b[1][:number]).sum()
    return float(np.linalg.norm(a[0].T @ b[0]) ** 2 / most)


def procrustes(a: np.ndarray, b: np.ndarray) -> float:
    nuclear = np.linalg.svd(a.T @ b, compute_uv=False).sum()
    return float(np.sqrt(max(2 - 2 * nuclear / (np.linalg.norm(a) * np.linalg.norm(b)), 0)))


# ---------------------------------------------------------------- neighbours


def sorted_rows(space: Space) -> tuple[np.ndarray, np.ndarray]:
    """Return the place of every row among the neighbours of every other, and the nearest ones."""
    e = space.held_out
    square = (e**2).sum(1)
    distance = square[:, None] + square - 2 * e @ e.T
    np.fill_diagonal(distance, -1)
    order = distance.argsort(1)
    rank = np.empty(order.shape, np.int32)
    np.put_along_axis(rank, order, np.arange(len(e), dtype=np.int32)[None], 1)
    return rank, order[:, 1]


def imbalance(a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray]) -> float:
    rows = np.arange(len(a[0]))
    return float(2 * b[0][rows, a[1]].mean() / len(rows))


def nearest(space: Space) -> np.ndarray:
    e = space.held_out
    found = NearestNeighbors(n_neighbors=NEIGHBOURS, algorithm="brute").fit(e)
    return found.kneighbors(return_distance=False)


def shared(a: np.ndarray, b: np.ndarray) -> float:
    common = [len(np.intersect1d(x, y, assume_unique=True)) for x, y in zip(a, b, strict=True)]
    return float(np.mean(common)) / NEIGHBOURS


#: The loop: scikit-learn and NumPy, each measure in its fastest common form.
LOOP = {
    "r2": Peer(in_folds, r2, directed=True),
    "cka": Peer(with_gram, cka),
    "cka_debiased": Peer(u_centred, cka_debiased),
    "cca": Peer(whitened, cca),
    "procrustes": Peer(held_out, procrustes),
    "imbalance": Peer(sorted_rows, imbalance, directed=True),
    "shared_neighbours": Peer(nearest, shared),
}


# ---------------------------------------------------------------- netrep


def netrep() -> dict[str, Peer]:
    """Return the measures that netrep has, as it gives them; none where it is not installed."""
    if LinearCKA is None:
        return {}
    return {
        "cka": Peer(held_out, lambda a, b: float(np.cos(LinearCKA().score(a, b)))),
        "procrustes": Peer(
            held_out, lambda a, b: float(2 * np.sin(LinearMetric().fit_score(a, b) / 2))
        ),
    }
