"""Learning curves on one test set, which no size trains on."""

import jax
import numpy as np
import pytest
from helpers import one_line
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold
from sklearn.preprocessing import StandardScaler

import cpdjax
from cpdjax.errors import InputError
from cpdjax.probes.apart import drawn_test, nested_beside
from cpdjax.probes.composition_scores import composition_scores
from cpdjax.probes.folds import block_folds, of_atoms
from cpdjax.uncertainty.comparison import compare, estimate

SLOW = pytest.mark.slow
N, D = 120, 14
SIZES = [12, 80]  # fewer training rows than features, then more


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    C = rng.integers(0, 5, (N, 3)).astype(float)
    X = rng.normal(size=(N, D)) + C @ rng.normal(size=(3, D))
    Y = X[:, :2] + C[:, :1] + 0.3 * rng.normal(size=(N, 2))
    return X, C, Y, rng.permutation(N)[:40]


def test_equals_scikit_learn_on_the_first_of_each_shuffle(data):
    X, C, Y, test = data
    found = cpdjax.learning_curve(X, C, Y, sizes=SIZES, repeats=2, test=test, alphas=1.0, seed=7)
    layout = nested_beside(N, SIZES, 2, test, seed=7)
    assert found.r2_geom.shape == (2, 2, 1, 1, 2)
    for repeat in range(2):
        for s, size in enumerate(SIZES):
            train = layout.subset(repeat, size)
            assert len(train) == size
            assert not {*train} & {*test}
            Z = X - LinearRegression().fit(C[train], X[train]).predict(C)
            scaler = StandardScaler().fit(Z[train])
            ridge = Ridge(1.0).fit(scaler.transform(Z[train]), Y[train])
            prediction = ridge.predict(scaler.transform(Z[test]))
            expected = r2_score(Y[test], prediction, multioutput="raw_values")
            np.testing.assert_allclose(found.r2_geom[repeat, s, 0, 0], expected, atol=1e-9)
    comp = composition_scores(C, Y, layout)
    np.testing.assert_allclose(comp, found.r2_comp[:, -1], atol=1e-9)


@pytest.mark.parametrize(
    ("projection", "components"),
    [("ols", None), *(pytest.param(*p, marks=SLOW) for p in (("leace", None), ("formula", 5)))],
)
def test_equals_one_split_with_alpha_by_leave_one_out(data, projection, components):
    """A mask of the molecules is as good as their numbers."""
    X, C, Y, test = data
    how = {"projection": projection, "components": components}
    mask = np.isin(np.arange(N), test)
    found = cpdjax.learning_curve(X, C, Y, sizes=SIZES, repeats=1, test=mask, **how)
    layout = nested_beside(N, SIZES, 1, test)
    for s, size in enumerate(SIZES):
        split = [(layout.subset(0, size), np.flatnonzero(mask))]
        alone = cpdjax.cpd(X, C, Y, folds=split, **how)
        for name in ("r2_geom", "r2_full", "r2_comp", "alpha_geom"):
            one, other = getattr(found, name)[0, s, 0], getattr(alone, name)[0]
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-8, err_msg=f"{name}, {size}")


def test_no_training_score_depends_on_test_targets_and_none_of_the_rest(data):
    """Molecules that are in no subset and no test set change nothing; a gradient shows it."""
    X, C, Y, test = data
    layout = nested_beside(N, [20], 1, test)
    used = {*test, *layout.subset(0, 20)}

    def total(x):
        curve = cpdjax.learning_curve(x, C, Y, sizes=[20], repeats=1, test=test, alphas=1.0)
        return curve.r2_geom.sum()

    gradient = np.asarray(jax.grad(total)(jax.numpy.asarray(X)))
    np.testing.assert_array_equal(np.flatnonzero(np.abs(gradient).sum(1)), sorted(used))


def test_atoms_of_a_molecule_stay_on_one_side():
    layout = of_atoms(nested_beside(4, [2], 1, [1, 3]), np.array([0, 3, 4, 6, 9]))
    assert sorted(layout.subset(0, 2)) == [0, 1, 2, 4, 5]
    assert sorted(layout.test_set) == [3, 6, 7, 8]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"test": [0]}, ["two molecules"]),
        ({"test": [0, 0]}, ["different whole numbers"]),
        ({"test": range(100), "sizes": [50]}, ["20", "not in the test set"]),
        ({"test": [0, 1], "folds": 4}, ["test or folds"]),
        ({"test": [0, 1], "folds": KFold(5)}, ["test or folds"]),
    ],
)
def test_refuses_in_one_line(data, given, words):
    X, C, Y, _ = data
    with pytest.raises(InputError) as caught:
        cpdjax.learning_curve(X, C, Y, **{"sizes": [20], **given})
    one_line(caught, *words)


def test_a_drawn_test_set_leaves_something_to_train_on():
    assert len({*drawn_test(10, 8)}) == 8
    assert drawn_test(10, 4, seed=1).tolist() != drawn_test(10, 4, seed=2).tolist()
    with pytest.raises(InputError, match="leaves 1 of 10"):
        drawn_test(10, 9)


def test_blocks_are_those_of_scikit_learn():
    for n in (10, 23):
        ids = block_folds(n, 5)
        for fold, (_, held_out) in enumerate(KFold(5).split(np.zeros(n))):
            np.testing.assert_array_equal(np.flatnonzero(ids == fold), held_out)


def test_interval_of_repeats_that_share_a_test_set():
    """Means of N of M numbers behave as scores to first order, and 95 % must cover the truth."""
    rng = np.random.default_rng(0)
    for share in (0.1, 0.5, 0.8):
        hits = 0
        for _ in range(2000):
            pool = rng.normal(size=200)
            drawn = [rng.permutation(pool)[: int(200 * share)].mean() for _ in range(5)]
            found = estimate(np.array(drawn)[:, None], overlap=share)
            hits += found.low <= 0 <= found.high
        assert 0.93 <= hits / 2000 <= 0.97, share


def test_interval_is_unknown_where_repeats_are_one_training_set():
    scores = np.array([[0.4], [0.5], [0.45]])
    for overlap in (None, 1.0):
        found = estimate(scores, overlap=overlap)
        assert np.isnan([found.low, found.high, found.p_value]).all()
        assert found.value == pytest.approx(0.45)
    with pytest.raises(InputError, match="overlap"):
        compare(scores, scores)
    assert compare(scores, scores - 0.1, overlap=0.2).value == pytest.approx(0.1)
