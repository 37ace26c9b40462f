"""Values of their own for what is easily wrong by a little: thresholds, leverages, small α."""

import numpy as np
import oracle
import pytest
from sklearn.linear_model import Ridge

from cpdjax import cpd
from cpdjax.kernel.ridge import LOO_ALPHAS
from cpdjax.probes.folds import kfold


@pytest.mark.parametrize("share", [1e-11, 1e-9, 1e-7])
def test_a_feature_that_owes_nearly_all_to_composition_still_counts(share):
    """Between eps^(3/4) = 1.8e-12 of its variance and eps^0.4 = 5e-7 a residual is no rounding."""
    rng = np.random.default_rng(0)
    C = rng.integers(0, 9, (200, 2)).astype(float)
    geometry = rng.normal(size=(200, 3))
    composition = C @ rng.normal(size=(2, 3))
    X = composition / composition.std(0) + np.sqrt(share) * geometry
    Y = (geometry.sum(1) + C[:, 0])[:, None]
    ids = kfold(200, 4)
    found, expected = cpd(X, C, Y, folds=ids), oracle.cpd(X, C, Y, ids, [1.0])
    assert found.r2_geom.min() > 0.2
    # Rounding of X itself leaves a residual of such a share with so many digits.
    np.testing.assert_allclose(found.r2_geom, expected.r2_geom, atol=1e-15 / share + 1e-9)


def squared_loo_errors(z, y, alphas):
    """Σ (yᵢ − ŷᵢ)², ŷᵢ from a Ridge with intercept that has not seen row i, fit by fit."""
    errors = np.zeros(len(alphas))
    for a, alpha in enumerate(alphas):
        for i in range(len(z)):
            rest = np.arange(len(z)) != i
            model = Ridge(alpha=alpha, solver="svd").fit(z[rest], y[rest])
            errors[a] += (y[i] - model.predict(z[[i]])[0]) ** 2
    return errors


def without_the_intercepts_leverage(z, y, alphas):
    """The same errors from leverages that forget the 1/n of the intercept."""
    centred = y - y.mean()
    errors = []
    for alpha in alphas:
        hat = z @ np.linalg.solve(z.T @ z + alpha * np.eye(z.shape[1]), z.T)
        errors.append((((centred - hat @ centred) / (1 - np.diag(hat))) ** 2).sum())
    return np.array(errors)


@pytest.mark.parametrize("features", [5, 30])
def test_leave_one_out_is_brute_force(features):
    """Few rows, so that the intercept's 1/n decides between neighbouring α; both forms."""
    told_apart = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        n, folds = 15, 3
        C = rng.integers(0, 3, (n, 1)).astype(float)
        X, ids = rng.normal(size=(n, features)), np.arange(n) % folds
        Y = X[:, :1] + 1.5 * rng.normal(size=(n, 1))
        found = cpd(X, C, Y, folds=ids, alphas="loo")
        for fold in range(folds):
            train = ids != fold
            z = oracle.ols(X, C, train)[train]
            z = (z - z.mean(0)) / z.std(0)
            errors = squared_loo_errors(z, Y[train, 0], LOO_ALPHAS)
            chosen = LOO_ALPHAS.index(found.alpha_geom[fold, 0, 0])
            assert errors[chosen] == pytest.approx(errors.min(), rel=1e-9)
            wrong = without_the_intercepts_leverage(z, Y[train, 0], LOO_ALPHAS)
            told_apart += errors[wrong.argmin()] > errors.min() * (1 + 1e-6)
    assert told_apart  # the data can tell


def test_small_penalties_are_as_accurate_as_work_on_the_rows():
    """Two features alike to 1e-5, whose difference is what held-out rows vary in.

    A Gram matrix squares the condition number: without one step of refinement against the rows,
    scores are off by 1e-7 to 2e-6 here.
    """
    rng = np.random.default_rng(0)
    n, gap = 60, 1e-5
    C = rng.integers(0, 5, (n, 2)).astype(float)
    base, hidden = rng.normal(size=(n, 4)), rng.normal(size=n)
    ids = kfold(n, 3)
    hidden[ids == 0] *= 30  # unlike the training rows
    X = np.column_stack([base, base[:, 0] + gap * hidden])
    Y = (base.sum(1) + hidden)[:, None]
    alphas = [1e-12, 1e-11, 1e-10, 1e-9]
    expected = oracle.cpd(X, C, Y, ids, alphas)
    short, long = (cpd(X, C, Y, folds=ids, alphas=a) for a in (alphas, [*alphas, 1e-7, 1e-6]))
    np.testing.assert_allclose(short.r2_geom, expected.r2_geom, atol=2e-9)
    np.testing.assert_allclose(long.r2_geom[:, :4], expected.r2_geom, atol=2e-9)
