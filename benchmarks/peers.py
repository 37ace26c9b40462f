"""Compositional Probe Decomposition written with other people's libraries.

Every contender takes a `Problem` and returns the same three scores. The first is the procedure
as one would write it down; the others share projection, scaling and factorisation among all the
targets and α of a fold as far as their library lets them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from himalaya.kernel_ridge import solve_kernel_ridge_eigenvalues
from himalaya.ridge import solve_ridge_svd
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.metrics import r2_score
from sklearn.preprocessing import StandardScaler


@dataclass(frozen=True)
class Problem:
    """Rows of one subset, and which of its folds, α and targets to score."""

    x: np.ndarray
    c: np.ndarray
    y: np.ndarray
    fold_ids: np.ndarray
    folds: tuple[int, ...]
    alphas: np.ndarray


class R2(NamedTuple):
    """Scores: geom and full (fold, alpha, target), comp (fold, target)."""

    geom: np.ndarray
    full: np.ndarray
    comp: np.ndarray

    def difference(self, other: R2) -> float:
        return max(float(np.abs(a - b).max()) for a, b in zip(self, other, strict=True))


def loop(p: Problem) -> R2:
    """The paper's procedure as one would write it: one target, one α, one fold at a time."""
    scores = np.empty((3, len(p.folds), len(p.alphas), p.y.shape[1]))
    for t, y in enumerate(p.y.T):
        for a, alpha in enumerate(p.alphas):
            for k, fold in enumerate(p.folds):
                held_out = p.fold_ids == fold
                scores[:, k, a, t] = _one_probe(p.x, p.c, y, ~held_out, held_out, alpha)
    return R2(scores[0], scores[1], scores[2, :, 0])


def _one_probe(
    x: np.ndarray, c: np.ndarray, y: np.ndarray, train: np.ndarray, test: np.ndarray, alpha: float
) -> tuple[float, float, float]:
    projection = LinearRegression().fit(c[train], x[train])
    residual = x - projection.predict(c)
    composition = LinearRegression().fit(c[train], y[train])
    return (
        _ridge_score(residual, y, train, test, alpha),
        _ridge_score(x, y, train, test, alpha),
        r2_score(y[test], composition.predict(c[test])),
    )


def _ridge_score(
    x: np.ndarray, y: np.ndarray, train: np.ndarray, test: np.ndarray, alpha: float
) -> float:
    scaler = StandardScaler().fit(x[train])
    ridge = Ridge(alpha=alpha).fit(scaler.transform(x[train]), y[train])
    return r2_score(y[test], ridge.predict(scaler.transform(x[test])))


#: Predictions (alpha, row, target) for held-out Z from training Z and Y and a grid of α.
Solver = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def vectorised(solver: Solver, *, project_targets: bool = False) -> Callable[[Problem], R2]:
    """Project and standardise once a fold, then solve all targets and α by `solver`.

    Residual features are orthogonal to composition, so the part of the targets that composition
    explains changes nothing but rounding: `project_targets` takes it out.
    """

    def run(p: Problem) -> R2:
        folds = [_one_fold(p, fold, solver, project_targets) for fold in p.folds]
        return R2(*(np.stack(scores) for scores in zip(*folds, strict=True)))

    return run


def _one_fold(
    p: Problem, fold: int, solver: Solver, project_targets: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    test = p.fold_ids == fold
    c, x, y = p.c[~test], p.x[~test], p.y[~test]
    projection = LinearRegression().fit(c, x)
    composition = LinearRegression().fit(c, y)

    def ridge(z: np.ndarray, held_out: np.ndarray, y: np.ndarray) -> np.ndarray:
        scaler = StandardScaler(copy=False).fit(z)
        predicted = solver(scaler.transform(z), y, scaler.transform(held_out), p.alphas)
        return _r2(p.y[test], predicted)

    free = y - composition.predict(c) + y.mean(0) if project_targets else y
    geom = ridge(x - projection.predict(c), p.x[test] - projection.predict(p.c[test]), free)
    full = ridge(x, p.x[test], y)
    return geom, full, _r2(p.y[test], composition.predict(p.c[test]))


def _r2(y: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    error = np.square(prediction - y).sum(-2)
    return 1 - error / np.square(y - y.mean(0)).sum(0)


def ridge_cholesky(z: np.ndarray, y: np.ndarray, held_out: np.ndarray, alphas: np.ndarray):
    """scikit-learn's own choice for dense rows: one multi-output Cholesky fit for every α."""
    return np.stack([Ridge(alpha=a).fit(z, y).predict(held_out) for a in alphas])


def ridge_svd(z: np.ndarray, y: np.ndarray, held_out: np.ndarray, alphas: np.ndarray):
    """One SVD for the whole grid: targets repeated for every α, with a penalty each."""
    tiled = np.tile(y, len(alphas))
    ridge = Ridge(alpha=np.repeat(alphas, y.shape[1]), solver="svd").fit(z, tiled)
    return _untile(ridge.predict(held_out), len(alphas))


def himalaya_svd(z: np.ndarray, y: np.ndarray, held_out: np.ndarray, alphas: np.ndarray):
    """himalaya, likewise tiled; target by target, the batch size found fastest for the solver."""
    mean, tiled, penalties = _centred_tiles(y, alphas)
    weights = solve_ridge_svd(z, tiled, alpha=penalties, n_targets_batch=1, warn=False)
    return _untile(held_out @ weights, len(alphas)) + mean


def himalaya_kernel(z: np.ndarray, y: np.ndarray, held_out: np.ndarray, alphas: np.ndarray):
    """himalaya's eigendecomposition of the linear kernel where rows are fewer than features."""
    if len(z) >= z.shape[1]:
        return himalaya_svd(z, y, held_out, alphas)
    mean, tiled, penalties = _centred_tiles(y, alphas)
    dual = solve_kernel_ridge_eigenvalues(z @ z.T, tiled, alpha=penalties, n_targets_batch=1)
    return _untile(held_out @ (z.T @ dual), len(alphas)) + mean


def _centred_tiles(y: np.ndarray, alphas: np.ndarray) -> tuple[np.ndarray, ...]:
    mean = y.mean(0)
    return mean, np.tile(y - mean, len(alphas)), np.repeat(alphas, y.shape[1])


def _untile(prediction: np.ndarray, alphas: int) -> np.ndarray:
    return prediction.reshape(len(prediction), alphas, -1).swapaxes(0, 1)


VECTORISED = {
    "scikit-learn, Cholesky per α": vectorised(ridge_cholesky),
    "scikit-learn, one SVD": vectorised(ridge_svd),
    "himalaya, one SVD": vectorised(himalaya_svd),
    "himalaya, kernel if rows < features": vectorised(himalaya_kernel),
}


#: What our scores are held against: as above, without the rounding of targets.
REFERENCE = vectorised(ridge_svd, project_targets=True)


def matscope(x: np.ndarray, c: np.ndarray, y: np.ndarray) -> float:
    """matscope 0.2.0: not the same procedure (its projection sees the held-out rows)."""
    from matscope.analysis.cpd import CompositionProjectionDecomposition

    decomposition = CompositionProjectionDecomposition(probe_type="linear", cv_folds=5)
    return decomposition.decompose(x, c, y).residual_linear_r2
