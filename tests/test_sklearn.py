"""The estimators keep scikit-learn's conventions, and their scores are those of `cpd`."""

import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from helpers import one_line
from sklearn.base import clone
from sklearn.compose import make_column_selector
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, KFold, cross_val_predict, cross_val_score
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

import cpdjax
from cpdjax.errors import InputError
from cpdjax.sklearn import CompositionResidual, ResidualRidge

RNG = np.random.default_rng(0)
N, ELEMENTS = 80, 3
C = RNG.integers(0, 6, (N, ELEMENTS)).astype(float)
X = RNG.normal(size=(N, 6)) + C @ RNG.normal(size=(ELEMENTS, 6))
Y = X[:, 0] + C[:, 1] + RNG.normal(size=N)
BOTH = np.hstack([C, X])
SPLITTER = KFold(5, shuffle=True, random_state=0)


@parametrize_with_checks(
    [
        ResidualRidge(),
        ResidualRidge(1),
        ResidualRidge(1, standardize=False),
        CompositionResidual(),
        CompositionResidual(1),
    ]
)
@pytest.mark.filterwarnings("ignore:no column of X is known to be composition")
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("alpha", [1e-3, 1.0, 100.0])
def test_cross_val_score_is_r2_geom(alpha, standardize):
    model = ResidualRidge(ELEMENTS, alpha=alpha, standardize=standardize)
    expected = cpdjax.cpd(
        X, C, Y, folds=SPLITTER, alphas=alpha, standardize=standardize, predictions=True
    )
    found = cross_val_score(model, BOTH, Y, cv=SPLITTER)
    np.testing.assert_allclose(found, expected.r2_geom[:, 0, 0], atol=1e-9)
    predicted = cross_val_predict(model, BOTH, Y, cv=SPLITTER)
    np.testing.assert_allclose(predicted, expected.prediction[0, :, 0], atol=1e-9)


def test_hard_columns_are_those_of_the_kernel():
    owed = C @ [[1.0], [2.0], [-1.0]]  # composition explains it: it drops out
    wide = np.hstack([X, np.full((N, 1), 3.0), owed, X[:, :1] * 1e-3 + 1e3])
    counts = np.hstack([C, C[:, :1] + C[:, 1:2]])  # of deficient rank
    expected = cpdjax.cpd(wide, counts, Y, folds=SPLITTER, alphas=1.0).r2_geom[:, 0, 0]
    found = cross_val_score(ResidualRidge(4), np.hstack([counts, wide]), Y, cv=SPLITTER)
    np.testing.assert_allclose(found, expected, atol=1e-9)
    residual = CompositionResidual(4).fit_transform(np.hstack([counts, wide]))
    np.testing.assert_array_equal(residual[:, 6:8], 0)


def test_several_targets_at_once():
    both = np.stack([Y, X[:, 1]], 1)
    expected = cpdjax.cpd(X, C, both, folds=SPLITTER, alphas=1.0).r2_geom[:, 0]
    model = ResidualRidge(ELEMENTS)
    found = cross_val_score(model, BOTH, both, cv=SPLITTER)  # the mean over targets
    np.testing.assert_allclose(found, expected.mean(1), atol=1e-9)


FRAME = pd.DataFrame(BOTH, columns=["H", "C", "O", *(f"f{i}" for i in range(6))])


@pytest.mark.parametrize(
    ("composition", "table"),
    [
        (3, BOTH),
        (slice(0, 3), BOTH),
        ([0, 1, 2], BOTH),
        (np.arange(9) < 3, BOTH),
        (slice(-3, None), np.hstack([X, C])),
        (["H", "C", "O"], FRAME),
        (["O", "C", "H"], FRAME[["f0", "f1", "f2", "H", "f3", "f4", "O", "C", "f5"]]),
        (make_column_selector("^[A-Z]"), FRAME),
    ],
)
def test_every_way_to_name_columns_names_the_same(composition, table):
    residual = CompositionResidual(composition).fit_transform(table)
    np.testing.assert_allclose(residual, CompositionResidual(3).fit_transform(BOTH), atol=1e-12)
    model = clone(ResidualRidge(composition)).fit(table, Y)
    np.testing.assert_allclose(
        model.predict(table), ResidualRidge(3).fit(BOTH, Y).predict(BOTH), atol=1e-9
    )


def test_names_of_features_go_on():
    transformer = CompositionResidual(["H", "C", "O"]).set_output(transform="pandas")
    found = transformer.fit_transform(FRAME)
    assert list(found) == [f"f{i}" for i in range(6)]
    np.testing.assert_allclose(np.corrcoef(found.T, C.T)[:6, 6:], 0, atol=1e-12)


def test_pipelines_and_searches():
    alike = make_pipeline(CompositionResidual(3), Ridge(1.0))
    expected = cross_val_score(ResidualRidge(3), BOTH, Y, cv=SPLITTER)
    np.testing.assert_allclose(cross_val_score(alike, BOTH, Y, cv=SPLITTER), expected, atol=1e-9)
    after = make_pipeline(FunctionTransformer(np.asarray), ResidualRidge(3))
    np.testing.assert_allclose(cross_val_score(after, FRAME, Y, cv=SPLITTER), expected, atol=1e-9)
    search = GridSearchCV(ResidualRidge(3), {"alpha": [1e-3, 1.0, 1e4]}, cv=SPLITTER)
    assert search.fit(BOTH, Y).best_params_["alpha"] < 1e4
    network = make_pipeline(
        CompositionResidual(3), MLPRegressor(hidden_layer_sizes=(4,), max_iter=5)
    )
    with warnings.catch_warnings(action="ignore"):  # five steps do not converge
        assert network.fit(BOTH, Y).predict(BOTH).shape == (N,)


def test_composition_that_nobody_named_is_told():
    with pytest.warns(UserWarning, match="no column of X is known to be composition") as told:
        scores = cross_val_score(ResidualRidge(), X, Y, cv=SPLITTER)
    assert len(told) == 5
    expected = cpdjax.cpd(X, C, Y, folds=SPLITTER, alphas=1.0).r2_full[:, 0, 0]
    np.testing.assert_allclose(scores, expected, atol=1e-9)


@pytest.mark.parametrize(
    ("composition", "table", "words"),
    [
        (10, BOTH, ["0 to 9 columns", "got 10"]),
        (-1, BOTH, ["0 to 9 columns", "got -1"]),
        (9, BOTH, ["no feature is left"]),
        ([0, 12], BOTH, ["which has 9", "12"]),
        (["N"], FRAME, ["'N'", "f0"]),
        (["H"], BOTH, ["'H'"]),
    ],
)
def test_columns_that_are_not_there_are_refused(composition, table, words):
    with pytest.raises(InputError) as caught:
        ResidualRidge(composition).fit(table, Y)
    one_line(caught, *words)


def test_without_scikit_learn_one_line_says_what_to_install(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("cpdjax.sklearn")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ModuleNotFoundError) as caught:
        import cpdjax.sklearn  # noqa: F401
    one_line(caught, 'pip install "cpdjax[sklearn]"')
