"""Write CPD with scikit-learn, fold by fold, in float64: the oracle that the kernel must equal.

It shares nothing with the kernel but two documented rules. A feature drops out if the variance of
its residual is at most eps^(3/4) of its own variance, or if its own variance is at most
(100 eps mean)².

Every regression has an intercept, so rows are first centred about the training mean. This changes
no result and keeps `LinearRegression`'s intercept from costing digits where a mean is large.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.metrics import r2_score
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

EPS = np.finfo(np.float64).eps


@dataclass(frozen=True)
class Oracle:
    """Hold scores under the names of `cpdjax.Scores`, with the same axes."""

    r2_geom: np.ndarray
    r2_full: np.ndarray
    r2_comp: np.ndarray
    composition_share: np.ndarray
    alpha_geom: np.ndarray
    alpha_full: np.ndarray
    prediction: np.ndarray


def ols(x, c, train):
    """Return what least squares from composition, fitted on rows `train`, leaves of all rows."""
    c = c - c[train].mean(0)
    return x - LinearRegression().fit(c[train], x[train]).predict(c)


def composition(x, c, residual):
    """Return the columns on which `ols` regresses."""
    return c


@threadpool_limits.wrap(limits=1)  # small matrices: threads only get in each other's way
def cpd(
    X, C, Y, ids, alphas, *,
    standardize=True, loo=False, solver="svd", project=ols, concepts=composition,
) -> Oracle:  # fmt: skip
    """Return scores for fold ids `ids`; with `loo`, each target gets an α by leave-one-out.

    The projection `project` regresses on the columns that `concepts` returns.
    """
    alphas = np.asarray(alphas, float)
    folds = []
    prediction = np.full((1 if loo else len(alphas), *Y.shape), np.nan)
    for fold in range(ids.max() + 1):
        train, test = ids != fold, ids == fold
        x, c = X - X[train].mean(0), C - C[train].mean(0)
        constant = x[train].var(0) <= (100 * EPS * X[train].mean(0)) ** 2
        residual = project(x, C, train)
        owed = residual[train].var(0) <= EPS**0.75 * x[train].var(0)

        def ridge(features, dropped, beside, train=train, test=test):
            z = np.where(dropped, 0, features)
            if standardize:
                z = StandardScaler().fit(z[train]).transform(z)
            chosen = alphas[:, None]
            if loo:
                errors = left_out(z[train], Y[train], beside[train], alphas)
                chosen = alphas[errors.argmin(0)][None]
            return _ridge(z[train], Y[train], z[test], chosen, solver)

        geom, alpha_geom = ridge(residual, constant | owed, concepts(x, C, residual))
        full, alpha_full = ridge(x, constant, np.zeros((len(x), 0)))
        comp = LinearRegression().fit(c[train], Y[train]).predict(c[test])
        prediction[:, test] = geom
        folds.append(
            (
                np.stack([_r2(Y[test], p) for p in geom]),
                np.stack([_r2(Y[test], p) for p in full]),
                _r2(Y[test], comp),
                _share(x[train], (x - residual)[train], constant, standardize),
                alpha_geom,
                alpha_full,
            )
        )
    return Oracle(*(np.stack(a) for a in zip(*folds, strict=True)), prediction)


def left_out(z, y, beside, alphas):
    """Return Σ (yᵢ − ŷᵢ)² (alpha, target), ŷᵢ from a fit that has not seen row i.

    The fit is least squares on an intercept and the columns `beside`, with Ridge on the columns of
    z: one regression on all of them, with α on z alone. Its hat matrix is that of least squares
    with √α I as further rows. Rows that `beside` fits exactly tell nothing about α.
    """
    ones = np.column_stack([np.ones(len(z)), beside - beside.mean(0)])
    u, s, _ = np.linalg.svd(ones, full_matrices=False)
    u = u[:, s > 1e-10 * s[0]]
    told = (u**2).sum(1) < 1 - 1e-8
    errors = []
    for alpha in alphas:
        rows = np.block(
            [[u, z], [np.zeros((z.shape[1], u.shape[1])), np.sqrt(alpha) * np.eye(z.shape[1])]]
        )
        q = np.linalg.qr(rows)[0][: len(z)]
        left = (y - q @ (q.T @ y)) / np.maximum(1 - (q**2).sum(1), EPS)[:, None]
        errors.append((left[told] ** 2).sum(0))
    return np.array(errors)


def _ridge(z, y, held_out, chosen, solver):
    """Return held-out predictions (alpha, row, target) and the α (alpha, target) behind them."""
    # Ridge takes one penalty per target. With a copy of the targets for every α, it factorises once
    # for the whole grid.
    chosen = np.broadcast_to(chosen, (len(chosen), y.shape[1]))
    model = Ridge(alpha=chosen.ravel(), solver=solver).fit(z, np.tile(y, (1, len(chosen))))
    held = model.predict(held_out).reshape(-1, *chosen.shape)
    return held.swapaxes(0, 1), chosen


def _r2(y, prediction):
    return r2_score(y, prediction, multioutput="raw_values")


def _share(x, explained, constant, standardize):
    weights = "uniform_average" if standardize else "variance_weighted"
    return r2_score(x[:, ~constant], explained[:, ~constant], multioutput=weights)


def learning_curve(X, C, Y, layout, alphas, **options) -> Oracle:
    """Return the scores of `cpd` on every subset of a `folds.Layout`: axes (repeat, size, …)."""
    curve = []
    for repeat in range(len(layout.index)):
        row = []
        for size in layout.sizes:
            rows = layout.subset(repeat, size)
            row.append(
                cpd(X[rows], C[rows], Y[rows], layout.fold_ids(repeat, size), alphas, **options)
            )
        curve.append(row)
    names = [f.name for f in fields(Oracle) if f.name != "prediction"]
    stacked = (np.array([[getattr(o, name) for o in row] for row in curve]) for name in names)
    return Oracle(*stacked, prediction=np.empty(0))


def conditioning(X, C, Y, ids, alphas, *, draws=3, **options) -> Oracle:
    """Return how well the oracle's values are determined.

    This is the largest change of each value when every feature moves to a neighbouring float, up
    or down at random.
    """
    exact = cpd(X, C, Y, ids, alphas, **options)
    rng = np.random.default_rng(0)
    moved = []
    for _ in range(draws):
        neighbour = np.nextafter(X, np.where(rng.random(X.shape) < 0.5, -np.inf, np.inf))
        moved.append(cpd(np.where(X == 0, 0, neighbour), C, Y, ids, alphas, **options))
    return Oracle(
        *(
            np.max([np.abs(getattr(m, f.name) - getattr(exact, f.name)) for m in moved], axis=0)
            for f in fields(Oracle)
        )
    )
