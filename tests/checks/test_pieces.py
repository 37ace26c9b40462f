"""The law of isomers, trees on several models, the author's library step by step."""

import numpy as np
import pytest
from helpers import one_line
from scipy import stats
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.metrics import r2_score

import cpdjax
from cpdjax.checks import isomers
from cpdjax.checks.authors_library import (
    STEPS,
    Sample,
    as_the_authors_library,
    toward_the_authors_library,
)
from cpdjax.checks.isomers import check_isomers, law_of
from cpdjax.checks.trees import check_trees
from cpdjax.errors import InputError, UnknownNameError
from cpdjax.probes.folds import kfold

ELEMENTS = ("H", "C", "O")


@pytest.fixture(scope="module")
def data():
    """Make four isomers of each formula; features of composition, geometry and noise."""
    rng = np.random.default_rng(0)
    C = np.repeat(rng.integers(1, 6, (60, 3)), 4, axis=0).astype(float)
    geometry = rng.normal(size=(240, 5))
    X = geometry + np.cos(C @ rng.normal(size=(3, 5)))
    y = geometry[:, 0] + 0.5 * rng.normal(size=240) + C @ [1.0, -0.5, 2.0]
    return X, C, np.array(["-".join(map(str, c)) for c in C]), y


# Isomers


@pytest.mark.parametrize("rho", [-0.6, 0.0, 0.3, 0.9])
def test_law_is_that_of_normal_differences(rho):
    """Predictions of many simulated pairs: the accuracy is the law's, and a threshold raises it."""
    rng = np.random.default_rng(0)
    truth, noise = rng.normal(size=(2, 40_000, 1))
    difference = rho * truth + np.sqrt(1 - rho**2) * noise
    levels = np.array([0.0, 0.0, 0.5, 1.0])
    group = np.arange(len(truth)) // 10
    found = isomers._accuracy(difference, np.ones(1), truth, group, rng, levels)
    assert found.correlation[0] == pytest.approx(rho, abs=0.02)
    assert found.value[0] == pytest.approx(law_of(rho), abs=0.01)
    assert found.law[0] == pytest.approx(found.value[0], abs=0.01)
    # of pairs whose targets differ by z, the part Φ(ρ z / √(1 − ρ²)) is in order
    for place, level in ((1, 0.5), (2, 1.0)):
        z = np.abs(truth[np.abs(truth) > level])
        expected = stats.norm.cdf(rho * z / np.sqrt(1 - rho**2)).mean()
        assert found.by_threshold[place, 0] == pytest.approx(expected, abs=0.01)
        low, high = found.threshold_interval[:, place, 0]
        assert low < found.by_threshold[place, 0] < high


def test_accuracy_by_threshold_is_counted_pair_by_pair(data):
    X, C, formulas, y = data
    found = check_isomers(X, C, formulas, y, thresholds=(0.0, 0.7, 99.0))
    first, second, _ = isomers.pairs(formulas)
    ids = cpdjax.group_folds(formulas, 5)
    p = cpdjax.cpd(X, C, y, folds=ids, alphas=1.0, predictions=True).prediction[0, :, 0]
    truth, guess = y[first] - y[second], p[first] - p[second]
    far = np.abs(truth) > 0.7
    assert found.thresholds == (0.0, 0.7, 99.0)
    assert found.threshold_pairs[:, 0].tolist() == [len(truth), far.sum(), 0]
    right = (truth * guess > 0)[far].mean()
    assert found.residual.by_threshold[1, 0] == pytest.approx(right)
    assert found.residual.by_threshold[0, 0] == found.residual.value[0]
    assert np.isnan(found.residual.by_threshold[2, 0])
    both = np.concatenate([truth, -truth]), np.concatenate([guess, -guess])
    assert found.residual.correlation[0] == pytest.approx(np.corrcoef(*both)[0, 1])
    assert found.residual.law[0] == pytest.approx(found.residual.value[0], abs=0.03)
    assert found.composition.law[0] == 0.5
    with pytest.raises(InputError, match="thresholds"):
        check_isomers(X, C, formulas, y, thresholds=(-0.1,))


# Trees


def test_trees_of_every_model_are_those_of_scikit_learn(data):
    _, C, formulas, _ = data
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(240, 4))
    X = np.column_stack([C**2, np.cos(C)]) + 0.01 * rng.normal(size=(240, 6))
    found = check_trees({"mine": X, "noise": noise}, C, formulas, ELEMENTS, folds=2)
    assert found.models == ("mine", "noise")
    np.testing.assert_allclose(found.r2[:, 0], found.r2_mean[None].repeat(2, 0), atol=1e-4)
    assert found.of("trees")[0] > 0.2 > 0.05 > found.of("trees")[1]

    y, ids = C[:, 1] + C[:, 2], kfold(240, 2)
    train = ids != 0
    augmented = np.column_stack([np.ones(240), C])
    left = X - augmented @ np.linalg.lstsq(augmented[train], X[train], rcond=None)[0]
    z = left / left[train].std(0)
    low, high = z[train].min(0), z[train].max(0)
    trees = HistGradientBoostingRegressor(random_state=0).fit(z[train], y[train])
    expected = r2_score(y[~train], trees.predict(np.clip(z[~train], low, high)))
    assert found.r2[0, 1, 0, 0] == pytest.approx(expected, abs=0.02)


def test_trees_refuse_in_one_line(data):
    X, C, formulas, _ = data
    with pytest.raises(UnknownNameError, match="heavy atoms"):
        check_trees({"mine": X}, C, formulas, ELEMENTS, target="heavy atom")
    with pytest.raises(InputError) as caught:
        check_trees({"mine": X[:9]}, C, formulas, ELEMENTS)
    one_line(caught, "mine", "240")


# The author's library


def test_equals_the_authors_library(data):
    analysis = pytest.importorskip("matscope.analysis.cpd")
    X, C, _, y = data
    fractions = C / C.sum(1, keepdims=True)
    library = analysis.CompositionProjectionDecomposition(probe_type="linear", cv_folds=5)
    expected = library.decompose(X, fractions, y).residual_linear_r2
    assert as_the_authors_library(X, C, y).mean() == pytest.approx(expected, abs=1e-9)


def test_steps_change_one_thing_each(data):
    X, C, _, y = data
    order = np.random.default_rng(0).permutation(240)
    first = Sample(X, C, y[:, None])
    drawn = Sample(*(a[order] for a in first))
    found = toward_the_authors_library(drawn, first)
    assert found.r2.shape == (len(STEPS), 5, 1)
    ours = cpdjax.cpd(*drawn, folds=kfold(240), alphas=1.0).r2_geom[:, 0]
    np.testing.assert_allclose(found.r2[0], ours, atol=1e-12)
    np.testing.assert_allclose(found.r2[-1], as_the_authors_library(X, C, y), atol=1e-12)
    assert np.abs(np.diff(found.means, axis=0)).min() > 0
    with pytest.raises(InputError, match="equal shapes"):
        toward_the_authors_library(drawn, Sample(X[:9], C[:9], y[:9, None]))
