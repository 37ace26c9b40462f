"""Nonlinear probes: equal to scikit-learn or to themselves alone; what they find, and why."""

import sys
from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.preprocessing import PolynomialFeatures
from sklearn.tree import DecisionTreeRegressor

from cpdjax.checks import kernel_ridge, mlp, nonlinear, nonlinear_probes
from cpdjax.checks.nonlinear_probes import PROBES
from cpdjax.checks.residualisation import RESIDUALS, residualise
from cpdjax.errors import InputError

QUICK = mlp.Training(hidden=16, epochs=20, batch_size=32, peak_learning_rate=1e-2)


@pytest.fixture(scope="module")
def data():
    """Make features that are no linear function of composition, and a little noise."""
    rng = np.random.default_rng(0)
    C = rng.integers(1, 5, (240, 3)).astype(float)
    X = np.cos(C @ rng.normal(size=(3, 8)) + rng.uniform(0, 6, 8)) + 0.01 * rng.normal(
        size=(240, 8)
    )
    return X, C, np.array([str(c) for c in C])


# Networks


@pytest.mark.slow
def test_a_network_among_many_is_the_one_trained_alone():
    rng = np.random.default_rng(0)
    x, held_out = rng.normal(size=(2, 64, 5)), rng.normal(size=(2, 9, 5))
    y = rng.normal(size=(2, 64, 3))
    together = mlp.predict(x, y, held_out, seeds=2, training=QUICK, dtype="float64")
    assert together.shape == (2, 2, 9, 3)
    batches = jnp.asarray(mlp._batches(64, QUICK))
    for case, seed, target in [(0, 0, 0), (1, 1, 2)]:
        alone = mlp.predict_one(
            jnp.asarray(x[case]), jnp.asarray(y[case, :, target]), jnp.asarray(held_out[case]),
            jnp.asarray(seed), batches, QUICK,
        )  # fmt: skip
        np.testing.assert_allclose(together[case, seed, :, target], alone, atol=1e-9)
    assert np.abs(together[:, 0] - together[:, 1]).max() > 1e-3  # seeds differ


def test_batches_are_permutations():
    batches = mlp._batches(70, QUICK)
    assert batches.shape == (2 * QUICK.epochs, 32)
    assert all(len(set(epoch.ravel())) == 64 for epoch in batches.reshape(-1, 2, 32))


# Kernel ridge


def test_kernel_ridge_is_scikit_learns():
    rng = np.random.default_rng(0)
    x, y, held_out = rng.normal(size=(60, 4)), rng.normal(size=(60, 2)), rng.normal(size=(20, 4))
    y[:, 0] = np.sin(x[:, 0]) + x[:, 1] ** 2
    found, alpha = kernel_ridge.predict(x, y, held_out)
    distances = np.linalg.norm(x[:, None] - x[None], axis=-1)
    width = np.median(distances[np.triu_indices(60, 1)])
    assert kernel_ridge.bandwidth(x) == pytest.approx(width, rel=1e-12)
    for t in range(2):
        centred = y[:, t] - y[:, t].mean()
        models = [
            KernelRidge(kernel="rbf", gamma=1 / (2 * width**2), alpha=a)
            for a in kernel_ridge.ALPHAS
        ]
        errors = [
            np.square(cross_val_predict(m, x, centred, cv=LeaveOneOut()) - centred).sum()
            for m in models
        ]
        assert alpha[t] == kernel_ridge.ALPHAS[int(np.argmin(errors))]
        expected = models[int(np.argmin(errors))].fit(x, centred).predict(held_out)
        np.testing.assert_allclose(found[:, t] - y[:, t].mean(), expected, atol=1e-8)


# Residuals


def test_residuals_are_scikit_learns(data):
    X, C, formulas = data
    train = np.arange(240) % 3 > 0
    for how, degree in (("linear", 1), ("quadratic", 2)):
        design = PolynomialFeatures(degree).fit_transform(C)
        model = LinearRegression().fit(design[train], X[train])
        found = residualise(X, C, formulas, train, how)
        np.testing.assert_allclose(found, X - model.predict(design), atol=1e-10)
    assert residualise(X, C, formulas, train, "none") is X


def test_a_formula_has_no_mean_left_where_training_saw_it(data):
    X, C, formulas = data
    train = np.arange(240) % 3 > 0
    found = residualise(X, C, formulas, train, "formula")
    linear = residualise(X, C, formulas, train, "linear")
    seen = np.isin(formulas, formulas[train])
    for name in np.unique(formulas[train]):
        own = formulas == name
        np.testing.assert_allclose(found[own & train].mean(0), 0, atol=1e-12)
        np.testing.assert_allclose(found[own], X[own] - X[own & train].mean(0), atol=1e-12)
    np.testing.assert_array_equal(found[~seen], linear[~seen])


# The check


def check(data):
    X, C, formulas = data
    return nonlinear.check_nonlinear(
        X, C, formulas, ("H", "C", "O"), folds=2, seeds=1, training=QUICK
    )


@pytest.fixture(scope="module")
def found(data):
    """Take one tree in place of a hundred: seconds instead of a minute."""
    with pytest.MonkeyPatch.context() as patch:
        tree = partial(DecisionTreeRegressor, min_samples_leaf=5)
        patch.setattr(nonlinear_probes, "_boosted_trees", lambda: tree)
        return check(data)


@pytest.mark.slow
def test_boosted_trees_read_the_counts_off_the_residual(data):
    boosted = np.median(check(data).r2[0, PROBES.index("trees")], axis=1)
    linear, formula, heavy = (*map(RESIDUALS.index, ("linear", "formula")), 0)
    assert boosted[linear, heavy] > 0.4
    assert boosted[formula, heavy] < 0.2


@pytest.mark.slow
def test_nonlinear_probes_find_composition_that_least_squares_leaves(found):
    """A tree and a kernel read the counts off the residual, until every formula's mean is gone."""
    assert found.targets == nonlinear.TARGETS
    assert found.r2.shape == (2, 4, 4, 2, 4)
    assert [o.quantity for o in found.outcomes if o.passed is False] == []
    medians = dict(zip(PROBES, np.median(found.r2[0], axis=2), strict=True))
    linear, formula, heavy = (*map(RESIDUALS.index, ("linear", "formula")), 0)
    assert abs(medians["ridge"][linear, heavy]) < 0.05
    for probe in ("trees", "mlp", "kernel ridge"):
        assert medians[probe][linear, heavy] > 0.4
        assert medians[probe][formula, heavy] < 0.2


@pytest.mark.slow
def test_nothing_is_found_in_a_representation_linear_in_composition(found):
    assert found.control.shape == (4, 2, 4)
    assert np.median(found.control, axis=1)[:, :2].max() < 0.05


def test_every_case_is_scored_on_its_own_held_out_rows(data):
    """Grouped folds are of unequal sizes; networks are padded, their scores are not."""
    rng = np.random.default_rng(0)
    cases = []
    for rows, held in ((64, 20), (70, 14)):
        x, h = rng.normal(size=(rows, 3)), rng.normal(size=(held, 3))
        cases.append(nonlinear_probes.Case(x, x[:, :1], h, h[:, :1]))
    scores = nonlinear_probes.make_probes(1, 0, QUICK._replace(epochs=120))["mlp"](cases)
    assert scores.shape == (2, 1)
    assert (scores > 0.8).all()


def test_without_scikit_learn_one_line_names_the_extra(data, monkeypatch):
    X, C, formulas = data
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    with pytest.raises(InputError, match=r"cpdjax\[nonlinear\]"):
        nonlinear.check_nonlinear(X, C, formulas, ("H", "C", "O"))
