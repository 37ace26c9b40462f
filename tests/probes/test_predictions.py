"""Predictions of the residual probe are scikit-learn's, and make the score that they belong to."""

import numpy as np
import oracle
import pytest
from helpers import one_line
from sklearn.metrics import r2_score

from cpdjax import cpd, residual_predictions
from cpdjax.errors import InputError, UnknownNameError

RNG = np.random.default_rng(0)
C = RNG.integers(0, 6, (120, 3)).astype(float)
X = RNG.normal(size=(120, 7)) + C @ RNG.normal(size=(3, 7))
Y = np.column_stack([X[:, 0] + C[:, 0], X @ RNG.normal(size=7), 1e6 + RNG.normal(size=120)])
IDS = np.arange(120) % 4


@pytest.mark.parametrize("alpha", [0.0, 3.0, "loo"])
def test_predictions_are_the_oracles(alpha):
    from cpdjax.kernel.ridge import LOO_ALPHAS

    found = residual_predictions(X, C, Y, folds=IDS, alpha=alpha)
    loo = alpha == "loo"
    expected = oracle.cpd(X, C, Y, IDS, LOO_ALPHAS if loo else [alpha], loo=loo)
    np.testing.assert_allclose(found.prediction, expected.prediction[0], rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(found.target, Y)
    np.testing.assert_array_equal(found.fold, IDS)


@pytest.mark.parametrize("options", [{"folds": 5, "seed": 3}, {"folds": IDS, "projection": "none"}])
def test_their_r2_is_r2_geom_fold_by_fold(options):
    found = residual_predictions(X, C, Y, alpha=1.0, **options)
    scores = cpd(X, C, Y, alphas=1.0, **options)
    for fold in range(len(found.r2_geom)):
        held_out = found.fold == fold
        r2 = r2_score(found.target[held_out], found.prediction[held_out], multioutput="raw_values")
        np.testing.assert_allclose(r2, scores.r2_geom[fold, 0], atol=1e-12)
        of_fold = found.contribution[held_out].sum(0) * len(found.r2_geom)
        np.testing.assert_allclose(of_fold, scores.r2_geom[fold, 0], atol=1e-9)
    np.testing.assert_array_equal(found.r2_comp, scores.r2_comp)


def test_who_is_predicted_better_than_the_mean_carries_the_score():
    found = residual_predictions(X, C, Y[:, 0], folds=IDS)
    mean = np.array([Y[fold == IDS, 0].mean() for fold in IDS])
    better = np.abs(Y[:, 0] - found.prediction[:, 0]) < np.abs(Y[:, 0] - mean)
    np.testing.assert_array_equal(found.contribution[:, 0] > 0, better)


@pytest.mark.filterwarnings("ignore:R² is undefined")
def test_a_constant_target_is_carried_by_nobody():
    found = residual_predictions(X, C, np.column_stack([Y[:, 0], np.full(120, 0.1)]), folds=IDS)
    assert np.isfinite(found.contribution[:, 0]).all()
    assert np.isnan(found.contribution[:, 1]).all()


def test_several_penalties_are_refused():
    with pytest.raises(InputError) as caught:
        residual_predictions(X, C, Y, alpha=[1.0, 2.0])
    one_line(caught, "one number", "[1.0, 2.0]")
    with pytest.raises(UnknownNameError, match="alphas"):
        residual_predictions(X, C, Y, alphas=1.0)


def test_folds_may_be_a_splitter_that_holds_every_molecule_out_once():
    from sklearn.model_selection import KFold, ShuffleSplit

    found = residual_predictions(X, C, Y, folds=KFold(4))
    expected = residual_predictions(X, C, Y, folds=np.arange(120) // 30)
    np.testing.assert_array_equal(found.fold, expected.fold)
    np.testing.assert_array_equal(found.prediction, expected.prediction)
    with pytest.raises(InputError, match="residual_predictions needs folds that hold every"):
        residual_predictions(X, C, Y, folds=ShuffleSplit(3, random_state=0))
