"""Values of their own for what is easily wrong by a little: thresholds, leverages, small α."""

import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from sklearn.linear_model import Ridge
from sklearn.model_selection import LeaveOneOut, cross_val_score

from cpdjax import cpd
from cpdjax.errors import ConstantTargetWarning
from cpdjax.kernel.options import Options
from cpdjax.kernel.probe import probe
from cpdjax.kernel.ridge import LOO_ALPHAS, Refinement, may_need_refinement
from cpdjax.probes.folds import cross_validation, kfold


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
    found = cpd(X, C, Y, folds=ids, alphas=1.0)
    expected = oracle.cpd(X, C, Y, ids, [1.0])
    assert found.r2_geom.min() > 0.2
    # Rounding of X itself leaves a residual of such a share with so many digits.
    np.testing.assert_allclose(found.r2_geom, expected.r2_geom, atol=1e-15 / share + 1e-9)


def squared_loo_errors(z, y, alphas, c=None):
    """Σ (yᵢ − ŷᵢ)², fit by fit: ŷᵢ from composition and a Ridge that have not seen row i.

    Composition is taken from z and y anew, by what least squares finds without the row.
    """
    ones = np.ones((len(z), 1)) if c is None else np.column_stack([np.ones(len(z)), c])
    errors = np.zeros(len(alphas))
    for i in range(len(z)):
        rest = np.arange(len(z)) != i
        left, own = (a - ones @ np.linalg.lstsq(ones[rest], a[rest], rcond=None)[0] for a in (z, y))
        u, s, vt = np.linalg.svd(left[rest], full_matrices=False)
        shrunk = s / (s**2 + np.array(alphas)[:, None])
        errors += (own[i] - shrunk * (u.T @ own[rest]) @ (vt @ left[i])) ** 2
    return errors


def test_the_errors_above_are_scikit_learns():
    rng = np.random.default_rng(0)
    z, y, model = rng.normal(size=(6, 3)), rng.normal(size=6), Ridge(alpha=0.1, solver="svd")
    left_out = -cross_val_score(model, z, y, cv=LeaveOneOut(), scoring="neg_mean_squared_error")
    assert squared_loo_errors(z, y, [0.1])[0] == pytest.approx(left_out.sum(), rel=1e-12)


def without_compositions_leverage(z, y, alphas):
    """The same errors where the projection is held fixed while a row is left out."""
    centred = y - y.mean()
    errors = []
    for alpha in alphas:
        hat = z @ np.linalg.solve(z.T @ z + alpha * np.eye(z.shape[1]), z.T) + 1 / len(z)
        errors.append((((centred - (hat @ centred)) / (1 - np.diag(hat))) ** 2).sum())
    return np.array(errors)


@pytest.mark.parametrize("features", [5, 30])
def test_leave_one_out_is_brute_force(features):
    """Few rows, so that composition's leverage decides between neighbouring α; both forms."""
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
            errors = squared_loo_errors(z, Y[train, 0], LOO_ALPHAS, C[train])
            chosen = LOO_ALPHAS.index(found.alpha_geom[fold, 0, 0])
            assert errors[chosen] == pytest.approx(errors.min(), rel=1e-9)
            wrong = without_compositions_leverage(z, Y[train, 0], LOO_ALPHAS)
            told_apart += errors[wrong.argmin()] > errors.min() * (1 + 1e-6)
    assert told_apart  # the data can tell


@pytest.mark.slow
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


def test_a_grid_of_which_some_penalties_are_small_is_as_accurate():
    """More targets than held-out rows, which is solved by rows unless a penalty needs weights."""
    rng = np.random.default_rng(0)
    n, gap = 60, 1e-5
    C = rng.integers(0, 5, (n, 2)).astype(float)
    base, hidden, ids = rng.normal(size=(n, 4)), rng.normal(size=n), kfold(n, 3)
    hidden[ids == 0] *= 30
    X = np.column_stack([base, base[:, 0] + gap * hidden])
    Y = (base.sum(1) + hidden)[:, None] + 0.1 * rng.normal(size=(n, 25))
    alphas = [1e-11, 1.0]
    expected = oracle.cpd(X, C, Y, ids, alphas)
    np.testing.assert_allclose(
        cpd(X, C, Y, folds=ids, alphas=alphas).r2_geom, expected.r2_geom, atol=2e-9
    )


def scores(X, C, Y, ids, alphas, **options):
    """What the kernel gives, told whether it may refine."""
    layout = cross_validation(len(X), ids)
    arrays = [jnp.asarray(a) for a in (X, C, Y, np.array(alphas), layout.index, layout.rank)]
    chosen = Options(elements=C.shape[1], **options)
    return probe(*arrays, sizes=layout.sizes, bounds=layout.bounds, options=chosen).r2_geom[0, 0]


@pytest.mark.slow
@pytest.mark.parametrize("copies", [1, 30], ids=["by weights", "by rows"])
def test_refinement_is_what_makes_alike_features_accurate(copies):
    """Two features alike to 1e-6, and held-out rows that differ in what the features differ in."""
    rng = np.random.default_rng(0)
    n, gap = 60, 1e-6
    C = rng.integers(0, 5, (n, 2)).astype(float)
    base, hidden, ids = rng.normal(size=(n, 4)), rng.normal(size=n), kfold(n, 3)
    hidden[ids == 0] *= 30
    X = np.column_stack([base, base[:, 0] + gap * hidden])
    Y = np.tile((base.sum(1) + hidden)[:, None], copies)
    alphas = [1e-12, 1e-11]
    expected = oracle.cpd(X, C, Y, ids, alphas).r2_geom
    with_it, without = (scores(X, C, Y, ids, alphas, refine=on) for on in (True, False))
    np.testing.assert_allclose(with_it, expected, rtol=0, atol=5e-9)
    assert np.abs(without - expected).max() > 1e-6


@pytest.mark.parametrize(("smallest", "needed"), [(1.0, False), (1e-9, True)])
def test_small_penalties_are_refined_where_some_direction_is_weak(smallest, needed):
    """The shape alone would allow refinement here; the eigenvalues decide whether it is needed."""
    rng = np.random.default_rng(0)
    vectors = np.linalg.qr(rng.normal(size=(20, 20)))[0]
    gram = vectors * np.array([smallest, *np.logspace(0, 4, 19)]) @ vectors.T
    alphas = np.array([1e-9, 1e6])
    assert may_need_refinement(alphas, np.trace(gram), gram.dtype)
    refinement = Refinement(lambda *_: None, jnp.trace(gram), jnp.asarray(gram))
    inverses = np.linalg.inv(gram + alphas[:, None, None] * np.eye(20))
    error = refinement.error(jnp.asarray(inverses @ np.asarray(refinement.vectors)))
    assert [bool(refinement.needed(e)) for e in error] == [needed, False]


def test_leave_one_out_chooses_among_two_values_a_decade():
    np.testing.assert_allclose(LOO_ALPHAS, np.logspace(-6, 6, 25), rtol=1e-15)


def test_one_training_row_predicts_itself():
    """Ids 0, 0, 1: where fold 0 is held out, its prediction is the target of the last row."""
    X, C, Y = np.arange(6.0).reshape(3, 2), np.array([[1.0], [2.0], [4.0]]), np.array([3.0, 5, 8])
    with pytest.warns(ConstantTargetWarning):  # of the other fold, which holds out one row
        found = cpd(X, C, Y, folds=np.array([0, 0, 1]), predictions=True)
    np.testing.assert_array_equal(found.prediction[0, :, 0], [8, 8, 4])
